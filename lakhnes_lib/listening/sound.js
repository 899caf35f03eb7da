// The sound of the four voices in the browser, for mixes that Python has not rendered (voices
// muted, another duty). The same method as lakhnes_lib/sound/apu.py, from that library's own
// timeline, step correction and output filter: level changes at exact times, the chip's two mixers,
// band-limited steps. Also what the views need: WAV files out of and into samples, a spectrogram.
const sound = (() => {
  const CLOCK = 1789773; // CPU cycles a second
  const DUTIES = ["01000000", "01100000", "01111000", "10011111"]; // one wave of a pulse
  const PULSE_1 = 0, PULSE_2 = 1, TRIANGLE = 2, NOISE = 3;
  const PHASES = 256, DELAY = 15; // samples from the first tap of a step to the step

  // What the noise's shift register lets through until it begins again, by mode.
  const GATES = [1, 6].map(tap => {
    const gate = [];
    let register = 1;
    do {
      gate.push(1 - (register & 1));
      const feedback = (register ^ (register >> tap)) & 1;
      register = (register >> 1) | (feedback << 14);
    } while (register !== 1);
    return gate;
  });

  function levelAt(voice, step, volume, timbre) {
    if (voice === TRIANGLE) return Math.abs((step & 31) - 15.5) - 0.5;
    if (voice === NOISE) return volume * GATES[timbre][step % GATES[timbre].length];
    return volume * Number(DUTIES[timbre][step & 7]);
  }

  // A voice as a generator of level changes, [time in CPU cycles, level], in order, up to a cycle.
  // columns: what is in force from a cycle on, as player.py writes them; duty: -1 for its own.
  function* levelChanges(voice, columns, duty, last) {
    const [starts, volumes, timbres, stepCycles, origins, firstSteps] = columns;
    let level = 0;
    for (let i = 0; i < starts.length; i++) {
      const end = starts[i + 1] ?? last, timbre = duty < 0 ? timbres[i] : duty;
      let time = starts[i], steps = Math.floor((time - origins[i]) / stepCycles[i]);
      while (time < end) {
        const value = levelAt(voice, firstSteps[i] + steps, volumes[i], timbre);
        if (value !== level) yield [time, (level = value)];
        time = origins[i] + ++steps * stepCycles[i];
      }
    }
  }

  // Adds the steps of two voices, mixed by the chip's formula: each as a plain step at the next
  // sample (`plain`, differences of samples) and its correction (`smooth`, samples).
  function addGroup(plain, smooth, rate, corrections, first, second, mixed) {
    const END = [Infinity, 0], cyclesPerSample = CLOCK / rate;
    let a = first.next().value ?? END, b = second.next().value ?? END;
    let levelA = 0, levelB = 0, now = 0;
    for (;;) {
      const x = Math.min(a[0], b[0]) / cyclesPerSample;
      if (!(x < plain.length)) break;
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
      const sample = Math.floor(x), row = corrections[Math.floor((x - sample) * PHASES)];
      plain[sample + 1] += change; // what lies outside of a typed array is dropped
      row.forEach((height, tap) => (smooth[sample - DELAY + tap] += change * height));
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
  // their own.
  function render(piece, on, duties, rate) {
    const length = Math.ceil(piece.length * rate);
    const plain = new Float64Array(length), smooth = new Float64Array(length);
    const corrections = Array.from({ length: PHASES }, (_, phase) => {
      const x = phase / PHASES - 0.5;
      return piece.steps.map(powers => powers.reduceRight((sum, factor) => sum * x + factor, 0));
    });
    const pulses = (a, b) => (a + b ? 95.88 / (8128 / (a + b) + 100) : 0);
    const others = (a, b) => (a + b ? 159.79 / (1 / (a / 8227 + b / 12241) + 100) : 0);
    const nothing = [[], [], [], [], [], []], end = piece.length * CLOCK;
    const changes = voice =>
      levelChanges(voice, on[voice] ? piece.voices[voice] : nothing, duties[voice] ?? -1, end);
    const add = (...group) => addGroup(plain, smooth, rate, corrections, ...group);
    add(changes(PULSE_1), changes(PULSE_2), pulses);
    add(changes(TRIANGLE), changes(NOISE), others);
    for (let i = 1; i < length; i++) plain[i] += plain[i - 1];
    const samples = plain.map((value, i) => value + smooth[i]);
    filter(samples, piece.filter);
    return Float32Array.from(samples, value => value * piece.gain);
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

  return { render, fromWav, toWav, spectrogram };
})();
