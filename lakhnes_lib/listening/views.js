// What the player draws itself, for whatever mix is heard: waveform, the wave at the play line,
// spectrogram. A mix is { samples, rate }; pictures are stretched to their size by the page.
const COLUMNS = 900;
const MAGMA = [[0, 0, 4], [81, 18, 124], [183, 55, 121], [252, 137, 97], [252, 253, 191]];

function drawPath(svg, width, height, points) {
  svg.setAttribute("viewBox", `0 ${-height} ${width} ${2 * height}`);
  svg.firstElementChild.setAttribute("d", points.join(""));
}
function waveform(svg, { samples }, peak) {
  const sample = column => Math.floor((column * samples.length) / COLUMNS);
  const extent = (_, column) => {
    const part = samples.subarray(sample(column), sample(column + 1));
    const low = part.reduce((a, b) => Math.min(a, b), 0);
    return `M${column},${-low}V${-part.reduce((a, b) => Math.max(a, b), 0)}`;
  };
  drawPath(svg, COLUMNS, peak, Array.from({ length: COLUMNS }, extent));
}
function scope(svg, { samples, rate }, time) {
  const span = Math.round(0.03 * rate);
  let from = Math.max(0, Math.min(samples.length - span, Math.round(time * rate)));
  const period = samples.subarray(from, from + Math.ceil(rate / 60));
  // From where the wave rises through zero, so that a steady tone stands still.
  const rise = period.findIndex((value, i) => value <= 0 && period[i + 1] > 0);
  from += Math.max(0, rise);
  const wave = [...samples.subarray(from, from + span)];
  const peak = wave.reduce((largest, value) => Math.max(largest, Math.abs(value)), 0.05);
  drawPath(svg, span, peak, wave.map((value, i) => `${i ? "L" : "M"}${i},${-value}`));
}
// Power in decibels, by the Fourier transform as it is written, of Hann-windowed samples around
// each column; bands from 0 to half the rate.
function spectrogram(canvas, { samples }) {
  const SIZE = 512, bands = SIZE / 2, image = new ImageData(COLUMNS, bands);
  const angles = Float64Array.from({ length: SIZE }, (_, i) => (2 * Math.PI * i) / SIZE);
  const cos = angles.map(Math.cos), sin = angles.map(Math.sin);
  for (let column = 0; column < COLUMNS; column++) {
    const from = Math.round(((column + 0.5) * samples.length) / COLUMNS) - SIZE / 2;
    const heard = cos.map((value, i) => (samples[from + i] || 0) * (0.5 - 0.5 * value));
    for (let band = 0; band < bands; band++) {
      let re = 0, im = 0;
      for (let i = 0, k = 0; i < SIZE; i++, k = (k + band) % SIZE) {
        re += heard[i] * cos[k];
        im += heard[i] * sin[k];
      }
      const decibels = 10 * Math.log10(((re ** 2 + im ** 2) * 16) / SIZE ** 2 + 1e-12);
      const shade = Math.max(0, Math.min(3.999, ((decibels + 90) / 75) * 4));
      const k = Math.floor(shade), below = MAGMA[k], above = MAGMA[k + 1];
      const mixed = below.map((value, i) => value + (above[i] - value) * (shade - k));
      image.data.set([...mixed, 255], ((bands - 1 - band) * COLUMNS + column) * 4);
    }
  }
  Object.assign(canvas, { width: COLUMNS, height: bands });
  canvas.getContext("2d").putImageData(image, 0, 0);
}

const views = { waveform, scope, spectrogram };
