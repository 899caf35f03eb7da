// What the player shows of a piece, drawn on a canvas: piano roll, waveform, the wave at the play line, spectrogram.
// A scene: { pen, box: {x, y, w, h}, colour: name -> CSS colour, piece, whole: seconds across the box, audible: voice -> boolean,
// samples, rate, peak }.
const views = (() => {
  const NAMES = ["C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B"];
  const clock = s => `${Math.floor(s / 60)}:${(s % 60).toFixed(1).padStart(4, "0")}`;

  function axis({ pen, box, colour, whole }) {
    const least = whole / Math.max(2, box.w / 70), step = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300].find(s => s >= least) ?? 600;
    pen.textAlign = "center";
    for (let k = 0; k * step <= whole; k++) {
      const x = box.x + box.w * k * step / whole;
      pen.fillStyle = colour("faint");
      pen.fillRect(x, box.y, 1, box.h);
      pen.fillStyle = colour("ink");
      pen.fillText(k * step < 60 ? `${+(k * step).toFixed(1)} s` : clock(k * step).slice(0, -2), x, box.y + box.h + 15);
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
    const melodic = pitches.filter((_, i) => voices[i] < 3), noise = voices.includes(3) ? 18.5 : 0;
    const low = melodic.reduce((a, b) => Math.min(a, b), 60) - 2, high = melodic.reduce((a, b) => Math.max(a, b), 72) + 2;
    const row = box.h / (high - low + noise), y = pitch => box.y + (high - pitch) * row, floor = low - noise;
    if (noise) {
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
    const across = box.w / (whole * sound.TICKS);
    for (const voice of [2, 0, 1, 3]) {
      const tall = Math.max(2, row * [1.2, 0.7, 1.2, 1][voice]);
      pen.fillStyle = colour(`voice-${voice}`);
      for (let i = 0; i < voices.length; i++) {
        if (voices[i] !== voice) continue;
        pen.globalAlpha = (0.5 + 0.5 * (voice === 2 ? 1 : velocities[i] / 15)) * (audible(voice) ? 1 : 0.15);
        pen.fillRect(box.x + starts[i] * across, y(pitches[i] + (voice === 3 ? floor : 0)) - tall / 2,
          Math.max(1, (ends[i] - starts[i]) * across), tall);
      }
    }
    pen.globalAlpha = 1;
  }
  function waveform(scene) {
    const { pen, box, colour, whole, piece, samples, peak } = scene;
    const middle = box.y + box.h / 2, tall = box.h / 2 / peak, columns = Math.floor(box.w * piece.length / whole);
    label(scene, "all", middle);
    pen.fillStyle = colour("wave");
    for (let column = 0; column < columns; column++) {
      let low = 0, high = 0;
      const end = Math.floor((column + 1) * samples.length / columns);
      for (let i = Math.floor(column * samples.length / columns); i < end; i++) {
        if (samples[i] < low) low = samples[i];
        if (samples[i] > high) high = samples[i];
      }
      pen.fillRect(box.x + column, middle - high * tall, 1, Math.max(1, (high - low) * tall));
    }
  }
  function scope(scene, at) {
    const { pen, box, colour, samples, rate } = scene;
    const span = Math.round(0.03 * rate), half = box.h / 2, top = box.y;
    let from = Math.max(0, Math.min(samples.length - span, Math.round(at * rate)));
    for (let i = from; i < from + rate / 60; i++) if (samples[i] <= 0 && samples[i + 1] > 0) { from = i; break; }
    pen.fillStyle = colour("ground");
    pen.fillRect(box.x, top - 4, box.w, half * 2 + 8);
    label(scene, "30 ms", top + half);
    let peak = 0.05;
    for (let i = from; i < from + span; i++) peak = Math.max(peak, Math.abs(samples[i] || 0));
    pen.strokeStyle = colour("wave");
    pen.lineWidth = 1.5;
    pen.beginPath();
    for (let i = 0; i < span; i++) pen.lineTo(box.x + box.w * i / span, top + half - (samples[from + i] || 0) / peak * half * 0.95);
    pen.stroke();
  }
  function spectrogram(scene) {
    const { pen, box, whole, piece, samples, rate } = scene;
    const columns = Math.max(1, Math.floor(box.w * piece.length / whole)), bands = 256;
    const power = sound.spectrogram(samples, columns), image = new ImageData(columns, bands);
    const stops = [[0, 0, 4], [81, 18, 124], [183, 55, 121], [252, 137, 97], [252, 253, 191]];
    for (let column = 0; column < columns; column++) for (let band = 0; band < bands; band++) {
      const x = Math.max(0, Math.min(3.999, (power[column * bands + band] + 90) / 75 * 4)), k = Math.floor(x);
      for (let c = 0; c < 3; c++)
        image.data[((bands - 1 - band) * columns + column) * 4 + c] = stops[k][c] + (stops[k + 1][c] - stops[k][c]) * (x - k);
      image.data[((bands - 1 - band) * columns + column) * 4 + 3] = 255;
    }
    const picture = document.createElement("canvas");
    picture.width = columns;
    picture.height = bands;
    picture.getContext("2d").putImageData(image, 0, 0);
    pen.drawImage(picture, box.x, box.y, columns, box.h);
    for (let kilohertz = 0; kilohertz <= rate / 2000; kilohertz += rate > 30000 ? 5 : 2)
      label(scene, `${kilohertz} kHz`, box.y + box.h * (1 - kilohertz * 2000 / rate));
  }

  return { axis, roll, waveform, scope, spectrogram, clock };
})();
