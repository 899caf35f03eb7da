// What the player shows of a piece, drawn on a canvas: piano roll, waveform, the wave at the play
// line, spectrogram. A scene is { pen, box: { x, y, w, h }, colour: name -> CSS colour, piece,
// whole: seconds across the box, audible: voice -> boolean, mix: { samples, rate }, peak }.
const views = (() => {
  const NAMES = ["C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B"];
  const STEPS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600]; // seconds
  const TRIANGLE = 2, NOISE = 3;
  const NOTE_HEIGHTS = [1.2, 0.7, 1.2, 1]; // in semitones, by voice
  const MAGMA = [[0, 0, 4], [81, 18, 124], [183, 55, 121], [252, 137, 97], [252, 253, 191]];

  function clock(seconds) {
    const minutes = Math.floor(seconds / 60);
    return `${minutes}:${(seconds % 60).toFixed(1).padStart(4, "0")}`;
  }
  function axis({ pen, box, colour, whole }) {
    const least = whole / Math.max(2, box.w / 70);
    const step = STEPS.find(seconds => seconds >= least) ?? STEPS.at(-1);
    pen.textAlign = "center";
    for (let k = 0; k * step <= whole; k++) {
      const seconds = k * step, x = box.x + (box.w * seconds) / whole;
      const text = seconds < 60 ? `${+seconds.toFixed(1)} s` : clock(seconds).slice(0, -2);
      pen.fillStyle = colour("faint");
      pen.fillRect(x, box.y, 1, box.h);
      pen.fillStyle = colour("ink");
      pen.fillText(text, x, box.y + box.h + 15);
    }
  }
  function label({ pen, box, colour }, text, y) {
    pen.fillStyle = colour("ink");
    pen.textAlign = "right";
    pen.fillText(text, box.x - 6, y + 4);
  }
  function roll(scene) {
    const { pen, box, colour, whole, piece, audible } = scene;
    const [voices, starts, ends, pitches, velocities] = piece.notes;
    const melodic = pitches.filter((_, i) => voices[i] !== NOISE);
    const low = melodic.reduce((a, b) => Math.min(a, b), 60) - 2;
    const high = melodic.reduce((a, b) => Math.max(a, b), 72) + 2;
    const strip = voices.includes(NOISE) ? 18.5 : 0; // rows for the noise below the pitches
    const row = box.h / (high - low + strip), floor = low - strip;
    const y = pitch => box.y + (high - pitch) * row;
    if (strip) {
      pen.fillStyle = colour("strip");
      pen.fillRect(box.x, y(floor + 16.8), box.w, 16.6 * row);
      [1, 8, 16].forEach(n => label(scene, n === 16 ? "noise 16" : n, y(floor + n)));
    }
    const step = high - low > 40 ? 12 : high - low > 18 ? 6 : 3;
    for (let pitch = Math.ceil((low + 2) / step) * step; pitch <= high; pitch += step) {
      pen.fillStyle = colour("faint");
      pen.fillRect(box.x, y(pitch), box.w, 1);
      label(scene, NAMES[pitch % 12] + (Math.floor(pitch / 12) - 1), y(pitch));
    }
    const pixels = box.w / (whole * sound.TICKS); // a tick
    for (const voice of [TRIANGLE, 0, 1, NOISE]) {
      const tall = Math.max(2, row * NOTE_HEIGHTS[voice]);
      pen.fillStyle = colour(`voice-${voice}`);
      for (let i = 0; i < voices.length; i++) {
        if (voices[i] !== voice) continue;
        const loudness = voice === TRIANGLE ? 1 : velocities[i] / 15;
        const middle = y(pitches[i] + (voice === NOISE ? floor : 0));
        const width = Math.max(1, (ends[i] - starts[i]) * pixels);
        pen.globalAlpha = (0.5 + 0.5 * loudness) * (audible(voice) ? 1 : 0.15);
        pen.fillRect(box.x + starts[i] * pixels, middle - tall / 2, width, tall);
      }
    }
    pen.globalAlpha = 1;
  }
  function waveform(scene) {
    const { pen, box, colour, whole, piece, peak } = scene, { samples } = scene.mix;
    const middle = box.y + box.h / 2, tall = box.h / 2 / peak;
    const columns = Math.floor((box.w * piece.length) / whole);
    const sample = column => Math.floor((column * samples.length) / columns);
    label(scene, "all", middle);
    pen.fillStyle = colour("wave");
    for (let column = 0; column < columns; column++) {
      let low = 0, high = 0;
      for (let i = sample(column); i < sample(column + 1); i++) {
        low = Math.min(low, samples[i]);
        high = Math.max(high, samples[i]);
      }
      pen.fillRect(box.x + column, middle - high * tall, 1, Math.max(1, (high - low) * tall));
    }
  }
  function scope(scene, time) {
    const { pen, box, colour } = scene, { samples, rate } = scene.mix;
    const span = Math.round(0.03 * rate), half = box.h / 2, middle = box.y + half;
    let from = Math.max(0, Math.min(samples.length - span, Math.round(time * rate)));
    const period = samples.subarray(from, from + Math.ceil(rate / 60));
    // From where the wave rises through zero, so that a steady tone stands still.
    const rise = period.findIndex((value, i) => value <= 0 && period[i + 1] > 0);
    from += Math.max(0, rise);
    pen.fillStyle = colour("ground");
    pen.fillRect(box.x, box.y - 4, box.w, box.h + 8);
    label(scene, "30 ms", middle);
    const wave = samples.subarray(from, from + span);
    const peak = wave.reduce((largest, value) => Math.max(largest, Math.abs(value)), 0.05);
    pen.strokeStyle = colour("wave");
    pen.lineWidth = 1.5;
    pen.beginPath();
    wave.forEach((value, i) =>
      pen.lineTo(box.x + (box.w * i) / span, middle - (value / peak) * half * 0.95));
    pen.stroke();
  }
  function spectrogramOf(samples) {
    const columns = 800, { power, bands } = sound.spectrogram(samples, columns);
    const picture = document.createElement("canvas"), image = new ImageData(columns, bands);
    for (let column = 0; column < columns; column++) {
      for (let band = 0; band < bands; band++) {
        const decibels = power[column * bands + band];
        const shade = Math.max(0, Math.min(3.999, ((decibels + 90) / 75) * 4));
        const k = Math.floor(shade), below = MAGMA[k], above = MAGMA[k + 1];
        const mixed = below.map((value, i) => value + (above[i] - value) * (shade - k));
        image.data.set([...mixed, 255], ((bands - 1 - band) * columns + column) * 4);
      }
    }
    Object.assign(picture, { width: columns, height: bands });
    picture.getContext("2d").putImageData(image, 0, 0);
    return picture;
  }
  function spectrogram(scene) {
    const { pen, box, whole, piece, mix } = scene, { rate } = mix;
    mix.spectrogram ??= spectrogramOf(mix.samples);
    pen.drawImage(mix.spectrogram, box.x, box.y, (box.w * piece.length) / whole, box.h);
    const step = rate > 30000 ? 5 : 2;
    for (let kilohertz = 0; kilohertz <= rate / 2000; kilohertz += step)
      label(scene, `${kilohertz} kHz`, box.y + box.h * (1 - (kilohertz * 2000) / rate));
  }

  return { axis, roll, waveform, scope, spectrogram, clock };
})();
