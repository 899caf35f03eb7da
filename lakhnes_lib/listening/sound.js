// The sound of the four voices in the browser: for mixes that Python has not rendered (voices muted, another duty).
// The same method as lakhnes_lib/sound/apu.py: level changes at exact times, the chip's two mixers, band-limited steps,
// its output filters. Also what the views need: WAV files out of and into samples, and a spectrogram.
const sound = (() => {
  const CLOCK = 1789773, TICKS = 44100;
  const DUTIES = [[0,1,0,0,0,0,0,0], [0,1,1,0,0,0,0,0], [0,1,1,1,1,0,0,0], [1,0,0,1,1,1,1,1]];
  const NOISE_PERIODS = [4,8,16,32,64,96,128,160,202,254,380,508,762,1016,2034,4068];
  const P1 = 0, TR = 2, NO = 3, VELOCITY = 11;
  const TAPS = 32, PHASES = 256, CUTOFF = 0.45, STEPS = bandLimitedSteps();

  // A step that the windowed sinc has smoothed, as differences from sample to sample: (PHASES, TAPS), each sums to one.
  function bandLimitedSteps() {
    const bessel = x => { let sum = 1, term = 1; for (let k = 1; k < 30; k++) sum += term *= (x / (2 * k)) ** 2; return sum; };
    const step = new Float64Array(TAPS * PHASES + 1);
    for (let i = 1; i < step.length; i++) {
      const x = (i - 0.5) / PHASES - TAPS / 2, u = 2 * x / TAPS;
      step[i] = step[i - 1] + Math.sin(2 * Math.PI * CUTOFF * x) / x * bessel(5.8 * Math.sqrt(1 - u * u));
    }
    const at = i => step[Math.max(0, i)] / step[TAPS * PHASES];
    return Array.from({ length: PHASES }, (_, phase) =>
      Float64Array.from({ length: TAPS }, (_, tap) => at((tap + 1) * PHASES - phase) - at(tap * PHASES - phase)));
  }

  // Notes cut where a velocity or timbre change falls inside them; times in CPU cycles.
  function spans(piece, voice, duty) {
    const [voices, starts, ends, pitches, velocities] = piece.notes, [of, ticks, kinds, values] = piece.controls;
    const changes = [], found = [];
    for (let i = 0; i < of.length; i++) if (of[i] === voice) changes.push([ticks[i], kinds[i], values[i]]);
    let timbre = 0, next = 0, ended = -1, timer = -1;
    for (let i = 0; i < voices.length; i++) {
      if (voices[i] !== voice) continue;
      let from = starts[i], level = velocities[i];
      const f = 440 * 2 ** ((pitches[i] - 69) / 12);
      const period = voice === NO ? NOISE_PERIODS[16 - pitches[i]]
        : voice === TR ? Math.round(CLOCK / (32 * f)) : 2 * Math.round(CLOCK / (16 * f));
      // A pulse whose note follows without a gap runs on, unless the timer's high byte is written.
      let fresh = voice >= TR || from !== ended || timer !== (period / 2 - 1) >> 8;
      ended = ends[i];
      timer = (period / 2 - 1) >> 8;
      const close = to => {
        if (to > from) {
          found.push({ start: from * CLOCK / TICKS, end: to * CLOCK / TICKS, level, period, fresh,
                       timbre: duty >= 0 ? duty : timbre });
          from = to;
          fresh = false;
        }
      };
      for (; next < changes.length && changes[next][0] < ends[i]; next++) {
        const [tick, kind, value] = changes[next];
        if (tick > from) close(tick);
        if (kind !== VELOCITY) timbre = value;
        else if (tick >= starts[i]) level = value;
      }
      close(ends[i]);
    }
    return found;
  }

  // A voice as a stream of level changes: (time, level) is the next one; advance() goes on to the one after it.
  function stream(voice, parts) {
    let part = -1, due = 0, step = voice === TR ? 16 : 0, register = 1, level = 0;
    const self = { time: 0, level: 0, advance };
    const now = p => voice === TR ? (step < 16 ? 15 - step : step - 16)
      : p.level * (voice === NO ? 1 - (register & 1) : DUTIES[p.timbre][step]);
    function clock(p) {
      due += p.period;
      if (voice === NO) {
        const feedback = (register ^ (register >> (p.timbre ? 6 : 1))) & 1;
        register = (register >> 1) | (feedback << 14);
      } else step = (step + 1) & (voice === TR ? 31 : 7);
    }
    function emit(time, value) {
      self.time = time;
      self.level = level = value;
    }
    function advance() {
      for (;;) {
        const p = parts[part];
        if (p && due < p.end) {
          const time = due;
          clock(p);
          const value = now(p);
          if (value !== level) return emit(time, value);
          continue;
        }
        const q = parts[part + 1];
        if (p && !p.closed && !(q && q.start <= p.end)) {
          p.closed = true;
          if (voice !== TR && level !== 0) return emit(p.end, 0);
        }
        part++;
        if (!q) return emit(Infinity, level);
        if (q.fresh) {
          due = q.start + q.period;
          if (voice < TR) step = 0;
        } else due = q.start + (due - q.start) * q.period / p.period;
        const value = now(q);
        if (value !== level) return emit(q.start, value);
      }
    }
    advance();
    return self;
  }

  function group(out, rate, a, b, mix) {
    const perSample = CLOCK / rate;
    let first = 0, second = 0, now = 0;
    for (;;) {
      const next = a.time <= b.time ? a : b, x = next.time / perSample;
      if (!(x < out.length)) break;
      if (next === a) first = a.level; else second = b.level;
      next.advance();
      const value = mix(first, second), change = value - now;
      if (change === 0) continue;
      now = value;
      const place = Math.floor(x), row = STEPS[Math.floor((x - place) * PHASES)], base = place - TAPS / 2 + 1;
      for (let tap = Math.max(0, -base); tap < TAPS && base + tap < out.length; tap++) out[base + tap] += change * row[tap];
    }
  }

  // The output stage: a difference equation whose coefficients come with the piece; denominator[0] is 1.
  function filter(samples, [numerator, denominator]) {
    const state = new Float64Array(numerator.length); // transposed direct form
    for (let i = 0; i < samples.length; i++) {
      const now = samples[i], out = numerator[0] * now + state[0];
      for (let k = 1; k < numerator.length; k++) state[k - 1] = numerator[k] * now - denominator[k] * out + state[k];
      samples[i] = out;
    }
  }

  // piece: notes and controls as columns, gain, filter; on: four booleans; duties: for P1 and P2, -1 as written. -> Float32Array
  function render(piece, on, duties, rate) {
    const out = new Float64Array(Math.ceil(piece.length * rate));
    const voice = v => stream(v, on[v] ? spans(piece, v, v < TR ? duties[v] : -1) : []);
    group(out, rate, voice(P1), voice(1), (a, b) => (a + b ? 95.88 / (8128 / (a + b) + 100) : 0));
    group(out, rate, voice(TR), voice(NO), (a, b) => (a + b ? 159.79 / (1 / (a / 8227 + b / 12241) + 100) : 0));
    for (let i = 1; i < out.length; i++) out[i] += out[i - 1];
    filter(out, piece.filter);
    const samples = new Float32Array(out.length);
    for (let i = 0; i < out.length; i++) samples[i] = out[i] * piece.gain;
    return samples;
  }

  function fromWav(dataUri) {
    const bytes = Uint8Array.from(atob(dataUri.slice(dataUri.indexOf(",") + 1)), c => c.charCodeAt(0));
    const whole = new Int16Array(bytes.buffer, 44, (bytes.length - 44) >> 1);
    return { rate: new DataView(bytes.buffer).getUint32(24, true), samples: Float32Array.from(whole, v => v / 32767) };
  }

  function toWav(samples, rate) {
    const view = new DataView(new ArrayBuffer(44 + 2 * samples.length)), whole = new Int16Array(view.buffer, 44);
    [0x52494646, 36 + 2 * samples.length, 0x57415645, 0x666d7420, 16, 0x00010001, rate, 2 * rate, 0x00100002,
     0x64617461, 2 * samples.length].forEach((word, i) => view.setUint32(4 * i, word, ![0, 2, 3, 9].includes(i)));
    for (let i = 0; i < samples.length; i++) whole[i] = Math.round(Math.max(-1, Math.min(1, samples[i])) * 32767);
    return new Blob([view.buffer], { type: "audio/wav" });
  }

  // Power in decibels, columns x 256 bands from 0 to rate / 2, of 512 Hann-windowed samples around each column.
  function spectrogram(samples, columns) {
    const N = 512, out = new Float32Array(columns * N / 2), re = new Float64Array(N), im = new Float64Array(N);
    const cos = Float64Array.from({ length: N }, (_, i) => Math.cos(2 * Math.PI * i / N));
    const sin = Float64Array.from({ length: N }, (_, i) => -Math.sin(2 * Math.PI * i / N));
    for (let column = 0; column < columns; column++) {
      const from = Math.round((column + 0.5) * samples.length / columns) - N / 2;
      for (let i = 0, j = 0; i < N; i++) {
        re[j] = (samples[from + i] || 0) * (0.5 - 0.5 * cos[i]);
        im[j] = 0;
        let bit = N >> 1;
        for (; j & bit; bit >>= 1) j ^= bit;
        j |= bit;
      }
      for (let half = 1; half < N; half *= 2)
        for (let i = 0; i < N; i += 2 * half)
          for (let k = 0; k < half; k++) {
            const w = k * N / (2 * half), a = i + k, b = a + half;
            const x = re[b] * cos[w] - im[b] * sin[w], y = re[b] * sin[w] + im[b] * cos[w];
            re[b] = re[a] - x; im[b] = im[a] - y; re[a] += x; im[a] += y;
          }
      for (let k = 0; k < N / 2; k++)
        out[column * N / 2 + k] = 10 * Math.log10((re[k] * re[k] + im[k] * im[k]) * 16 / (N * N) + 1e-12);
    }
    return out;
  }

  return { render, fromWav, toWav, spectrogram, TICKS };
})();
