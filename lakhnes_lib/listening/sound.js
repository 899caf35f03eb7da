// The sound of the four voices in the browser, for mixes that Python has not rendered (voices
// muted, another duty). The same method as lakhnes_lib/sound/apu.py, from that library's own
// timeline, step correction and output filter: level changes at exact times, the chip's two mixers,
// band-limited steps. Also WAV files out of and into samples.
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

// The level changes of a voice up to a cycle. A change is one number, time in CPU cycles * 32 +
// part * 16 + level, so that those of the two parts of a mixer can be sorted together.
// columns: what is in force from a cycle on, as player.py writes them; duty: -1 for its own.
function levelChanges(voice, part, columns, duty, last) {
  const [starts, volumes, timbres, stepCycles, origins, firstSteps] = columns, changes = [];
  let level = 0;
  for (let i = 0; i < starts.length; i++) {
    const end = starts[i + 1] ?? last, timbre = duty < 0 ? timbres[i] : duty;
    let time = starts[i], steps = Math.floor((time - origins[i]) / stepCycles[i]);
    while (time < end) {
      const value = levelAt(voice, firstSteps[i] + steps, volumes[i], timbre);
      if (value !== level) changes.push(time * 32 + part * 16 + (level = value));
      time = origins[i] + ++steps * stepCycles[i];
    }
  }
  return changes;
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

// A piece with the voices `on` (four booleans); duties: of both pulses, -1 for their own. A mix
// is { url, samples, rate, head }: where it plays from as a WAV file of one channel and 16 bits,
// the sound in Float32Array, samples a second, and the file's first 44 bytes, which every mix of
// a piece has from the first.
function render(piece, on, duties, { rate, head }) {
  const length = Math.ceil(piece.length * rate);
  const plain = new Float64Array(length), smooth = new Float64Array(length);
  const corrections = Array.from({ length: PHASES }, (_, phase) => {
    const x = phase / PHASES - 0.5;
    return piece.steps.map(powers => powers.reduceRight((sum, factor) => sum * x + factor, 0));
  });
  const end = piece.length * CLOCK;
  // Adds the steps of two voices, mixed by the chip's formula: each as a plain step at the next
  // sample (`plain`, differences of samples) and its correction (`smooth`, samples).
  function add(voices, mixed) {
    const changes = voices.flatMap((voice, part) =>
      on[voice] ? levelChanges(voice, part, piece.voices[voice], duties[voice] ?? -1, end) : []);
    const levels = [0, 0];
    let now = 0;
    for (const each of Float64Array.from(changes).sort()) {
      levels[(each % 32) >> 4] = each % 16;
      const change = mixed(levels[0], levels[1]) - now;
      now += change;
      const x = (Math.floor(each / 32) * rate) / CLOCK;
      const sample = Math.floor(x), row = corrections[Math.floor((x - sample) * PHASES)];
      plain[sample + 1] += change; // what lies outside of a typed array is dropped
      row.forEach((height, tap) => (smooth[sample - DELAY + tap] += change * height));
    }
  }
  add([PULSE_1, PULSE_2], (a, b) => 95.88 / (8128 / (a + b) + 100));
  add([TRIANGLE, NOISE], (a, b) => 159.79 / (1 / (a / 8227 + b / 12241) + 100));
  for (let i = 1; i < length; i++) plain[i] += plain[i - 1];
  const sum = plain.map((value, i) => value + smooth[i]);
  filter(sum, piece.filter);
  const samples = Float32Array.from(sum, x => Math.max(-1, Math.min(1, x * piece.gain)));
  const numbers = Int16Array.from(samples, value => Math.round(value * 32767));
  const url = URL.createObjectURL(new Blob([head, numbers], { type: "audio/wav" }));
  return { url, samples, rate, head };
}

function fromWav(url) {
  const text = atob(url.slice(url.indexOf(",") + 1));
  const bytes = Uint8Array.from(text, character => character.charCodeAt(0));
  const numbers = new Int16Array(bytes.buffer, 44, (bytes.length - 44) >> 1);
  const samples = Float32Array.from(numbers, number => number / 32767);
  const rate = new DataView(bytes.buffer).getUint32(24, true);
  return { url, samples, rate, head: bytes.slice(0, 44) };
}
