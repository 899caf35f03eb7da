// The sound of the four voices in the browser, for mixes that Python has not rendered (voices
// muted, another duty). The same method as lakhnes_lib/sound/apu.py: level changes at exact times,
// the chip's two mixers, band-limited steps, its output filters. Also what the views need: WAV
// files out of and into samples, and a spectrogram.
const sound = (() => {
  const CLOCK = 1789773, TICKS = 44100; // CPU cycles and ticks a second
  const DUTIES = ["01000000", "01100000", "01111000", "10011111"]; // one wave of a pulse
  const NOISE_PERIODS =
    [4, 8, 16, 32, 64, 96, 128, 160, 202, 254, 380, 508, 762, 1016, 2034, 4068]; // cycles
  const PULSE_1 = 0, PULSE_2 = 1, TRIANGLE = 2, NOISE = 3, VELOCITY = 11;
  const TAPS = 32, PHASES = 256, CUTOFF = 0.45, STEPS = bandLimitedSteps();

  // A step that the windowed sinc has smoothed, as differences from sample to sample:
  // (PHASES, TAPS), each row sums to one.
  function bandLimitedSteps() {
    function bessel(x) {
      let sum = 1, term = 1;
      for (let k = 1; k < 30; k++) sum += term *= (x / (2 * k)) ** 2;
      return sum;
    }
    const step = new Float64Array(TAPS * PHASES + 1);
    for (let i = 1; i < step.length; i++) {
      const x = (i - 0.5) / PHASES - TAPS / 2, u = (2 * x) / TAPS;
      const sinc = Math.sin(2 * Math.PI * CUTOFF * x) / x;
      step[i] = step[i - 1] + sinc * bessel(5.8 * Math.sqrt(1 - u * u));
    }
    const height = i => step[Math.max(0, i)] / step[TAPS * PHASES];
    const rise = (tap, phase) =>
      height((tap + 1) * PHASES - phase) - height(tap * PHASES - phase);
    return Array.from({ length: PHASES }, (_, phase) =>
      Float64Array.from({ length: TAPS }, (_, tap) => rise(tap, phase)));
  }

  // CPU cycles between two steps of a voice's wave.
  function periodOf(voice, pitch) {
    const frequency = 440 * 2 ** ((pitch - 69) / 12);
    if (voice === NOISE) return NOISE_PERIODS[16 - pitch];
    if (voice === TRIANGLE) return Math.round(CLOCK / (32 * frequency));
    return 2 * Math.round(CLOCK / (16 * frequency));
  }

  // Notes cut where a velocity or timbre change falls inside them; times in CPU cycles.
  function spans(piece, voice, duty) {
    const [voices, starts, ends, pitches, velocities] = piece.notes;
    const [changed, ticks, kinds, values] = piece.controls;
    const changes = changed.flatMap((other, i) =>
      other === voice ? [{ tick: ticks[i], kind: kinds[i], value: values[i] }] : []);
    const found = [];
    let timbre = 0, next = 0, lastEnd = -1, lastHighByte = -1;
    for (let i = 0; i < voices.length; i++) {
      if (voices[i] !== voice) continue;
      let from = starts[i], level = velocities[i];
      const period = periodOf(voice, pitches[i]), highByte = (period / 2 - 1) >> 8;
      // A pulse whose note follows without a gap runs on, unless the timer's high byte is written.
      let fresh = voice >= TRIANGLE || from !== lastEnd || highByte !== lastHighByte;
      lastEnd = ends[i];
      lastHighByte = highByte;
      function closeAt(to) {
        if (to <= from) return;
        const start = (from * CLOCK) / TICKS, end = (to * CLOCK) / TICKS;
        found.push({ start, end, level, period, fresh, timbre: duty >= 0 ? duty : timbre });
        from = to;
        fresh = false;
      }
      for (; next < changes.length && changes[next].tick < ends[i]; next++) {
        const { tick, kind, value } = changes[next];
        closeAt(tick);
        if (kind !== VELOCITY) timbre = value;
        else if (tick >= starts[i]) level = value;
      }
      closeAt(ends[i]);
    }
    return found;
  }

  // A voice as a generator of level changes, [time in CPU cycles, level], in order.
  function* levelChanges(voice, parts) {
    let step = voice === TRIANGLE ? 16 : 0, register = 1, level = 0, due = 0;
    function levelNow(part) {
      if (voice === TRIANGLE) return step < 16 ? 15 - step : step - 16;
      if (voice === NOISE) return part.level * (1 - (register & 1));
      return part.level * Number(DUTIES[part.timbre][step]);
    }
    function advance(part) {
      due += part.period;
      if (voice === NOISE) {
        const feedback = (register ^ (register >> (part.timbre ? 6 : 1))) & 1;
        register = (register >> 1) | (feedback << 14);
      } else step = (step + 1) & (voice === TRIANGLE ? 31 : 7);
    }
    for (const [i, part] of parts.entries()) {
      if (part.fresh) {
        due = part.start + part.period;
        if (voice < TRIANGLE) step = 0;
      } else due = part.start + ((due - part.start) * part.period) / parts[i - 1].period;
      let time = part.start;
      while (time < part.end) {
        const value = levelNow(part);
        if (value !== level) yield [time, (level = value)];
        time = due;
        if (time < part.end) advance(part);
      }
      const runsOn = parts[i + 1]?.start <= part.end;
      if (!runsOn && voice !== TRIANGLE && level) yield [part.end, (level = 0)];
    }
  }

  // Adds the steps of two voices, mixed by the chip's formula, to `out` (differences of samples).
  function addGroup(out, rate, first, second, mixed) {
    const END = [Infinity, 0], cyclesPerSample = CLOCK / rate;
    let a = first.next().value ?? END, b = second.next().value ?? END;
    let levelA = 0, levelB = 0, now = 0;
    for (;;) {
      const x = Math.min(a[0], b[0]) / cyclesPerSample;
      if (!(x < out.length)) break;
      if (a[0] <= b[0]) {
        levelA = a[1];
        a = first.next().value ?? END;
      } else {
        levelB = b[1];
        b = second.next().value ?? END;
      }
      const change = mixed(levelA, levelB) - now;
      if (change === 0) continue;
      now += change;
      const sample = Math.floor(x), row = STEPS[Math.floor((x - sample) * PHASES)];
      const base = sample - TAPS / 2 + 1, taps = Math.min(TAPS, out.length - base);
      for (let tap = Math.max(0, -base); tap < taps; tap++) out[base + tap] += change * row[tap];
    }
  }

  // The output stage: a difference equation whose coefficients come with the piece;
  // denominator[0] is 1. In place.
  function filter(samples, [numerator, denominator]) {
    const state = new Float64Array(numerator.length); // transposed direct form
    for (let i = 0; i < samples.length; i++) {
      const now = samples[i], out = numerator[0] * now + state[0];
      for (let k = 1; k < numerator.length; k++)
        state[k - 1] = numerator[k] * now - denominator[k] * out + state[k];
      samples[i] = out;
    }
  }

  // A piece with the voices `on` (four booleans) as Float32Array; duties: of both pulses, -1 for
  // their own. piece: notes and controls as columns, gain, filter.
  function render(piece, on, duties, rate) {
    const out = new Float64Array(Math.ceil(piece.length * rate));
    const pulses = (a, b) => (a + b ? 95.88 / (8128 / (a + b) + 100) : 0);
    const others = (a, b) => (a + b ? 159.79 / (1 / (a / 8227 + b / 12241) + 100) : 0);
    const changes = voice =>
      levelChanges(voice, on[voice] ? spans(piece, voice, duties[voice] ?? -1) : []);
    addGroup(out, rate, changes(PULSE_1), changes(PULSE_2), pulses);
    addGroup(out, rate, changes(TRIANGLE), changes(NOISE), others);
    for (let i = 1; i < out.length; i++) out[i] += out[i - 1];
    filter(out, piece.filter);
    return Float32Array.from(out, value => value * piece.gain);
  }

  // A WAV file of one channel, 16 bits: a head of 44 bytes, then the samples.
  function fromWav(dataUri) {
    const text = atob(dataUri.slice(dataUri.indexOf(",") + 1));
    const bytes = Uint8Array.from(text, character => character.charCodeAt(0));
    const numbers = new Int16Array(bytes.buffer, 44, (bytes.length - 44) >> 1);
    const samples = Float32Array.from(numbers, number => number / 32767);
    const rate = new DataView(bytes.buffer).getUint32(24, true);
    return { head: bytes.slice(0, 44), rate, samples };
  }

  // The head of another file of the same length and rate serves again.
  function toWav(samples, head) {
    const limited = samples.map(value => Math.max(-1, Math.min(1, value)));
    const numbers = Int16Array.from(limited, value => Math.round(value * 32767));
    return new Blob([head, numbers], { type: "audio/wav" });
  }

  // Power in decibels, columns x bands from 0 to rate / 2, of Hann-windowed samples around each
  // column, by the Fourier transform as it is written.
  function spectrogram(samples, columns) {
    const SIZE = 512, bands = SIZE / 2, power = new Float32Array(columns * bands);
    const angles = Float64Array.from({ length: SIZE }, (_, i) => (2 * Math.PI * i) / SIZE);
    const cos = angles.map(Math.cos), sin = angles.map(Math.sin);
    for (let column = 0; column < columns; column++) {
      const from = Math.round(((column + 0.5) * samples.length) / columns) - SIZE / 2;
      const heard = cos.map((value, i) => (samples[from + i] || 0) * (0.5 - 0.5 * value));
      for (let band = 0; band < bands; band++) {
        let re = 0, im = 0;
        for (let i = 0, k = 0; i < SIZE; i++, k = (k + band) % SIZE) {
          re += heard[i] * cos[k];
          im += heard[i] * sin[k];
        }
        const square = ((re ** 2 + im ** 2) * 16) / SIZE ** 2;
        power[column * bands + band] = 10 * Math.log10(square + 1e-12);
      }
    }
    return { power, bands };
  }

  return { render, fromWav, toWav, spectrogram, TICKS };
})();
