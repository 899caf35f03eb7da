// Turns the plain base of a player (pictures, audio elements, links) into a player with a mixer and views.
// Every root has its own state; nothing is put on the page outside it.
function build(root) {
  const VOICES = ["Pulse 1", "Pulse 2", "Triangle", "Noise"], DUTIES = ["12.5 %", "25 %", "50 %", "75 %"];
  const LEFT = 60, RIGHT = 16, TOP = 8, BOTTOM = 22;
  const pieces = [...root.querySelectorAll("figure")].map(figure => ({
    figure, audio: figure.querySelector("audio"), ...JSON.parse(figure.dataset.piece), mixes: new Map() }));
  const mixer = { mute: [false, false, false, false], solo: [false, false, false, false], duty: [-1, -1] };
  const whole = Math.max(...pieces.map(p => p.length)) || 1; // seconds; one time axis for all pieces
  let piece = pieces[0], wanted = "roll", frame = 0, seen = "", scene;

  // --- elements ---
  const { make, button } = elements;
  const choice = (label, options, act) => make("select", { "aria-label": label, onchange: e => act(e.target.value) },
    ...options.map(([value, text]) => make("option", { value }, text)));
  const press = (element, on) => element.setAttribute("aria-pressed", String(on));

  const canvas = make("canvas", { tabindex: 0, role: "slider", "aria-label": "Position", "aria-valuemin": 0 });
  const play = button("\u25B6 Play", toggle, { class: "main", "aria-label": "Play" });
  const time = make("span", { class: "time" });
  const status = make("span", { role: "status", class: "status" });
  const choices = ["roll", "waveform", "spectrogram"].filter(name => name !== "roll" || pieces.some(p => p.notes)).map(name =>
    button({ roll: "Piano roll", waveform: "Waveform", spectrogram: "Spectrogram" }[name], () => show(name), { "data-view": name }));
  const tabs = pieces.length < 2 ? [] : pieces.map((p, i) => button(p.title, () => change(i), { "data-piece": i }));
  const strips = VOICES.map((title, v) => {
    const mute = button("Mute", () => remix("mute", v, !mixer.mute[v]), { "aria-label": `Mute ${title}`, "data-mute": v });
    const solo = button("Solo", () => remix("solo", v, !mixer.solo[v]), { "aria-label": `Solo ${title}`, "data-solo": v });
    const duty = v > 1 ? [] : [choice(`Duty of ${title}`, [[-1, "own duty"], ...DUTIES.map((d, i) => [i, `duty ${d}`])],
      value => remix("duty", v, Number(value)))];
    return make("div", { class: "strip", role: "group", "aria-label": title, "data-voice": v },
      make("span", { class: "name" }, title), mute, solo, ...duty);
  });
  const volume = make("input", { type: "range", min: 0, max: 1, step: 0.01, value: 0.8, "aria-label": "Volume",
    oninput: () => pieces.forEach(p => { p.audio.volume = Number(volume.value); }) });
  const speed = choice("Speed", [[0.5, "half speed"], [0.75, "3/4 speed"], [1, "full speed"]],
    value => pieces.forEach(p => { p.audio.defaultPlaybackRate = p.audio.playbackRate = Number(value); }));
  speed.value = "1";
  const loop = make("input", { type: "checkbox", onchange: () => pieces.forEach(p => { p.audio.loop = loop.checked; }) });
  const downloads = make("span", { class: "downloads" });
  const deck = make("div", { class: "lakhnes-deck" },
    make("div", { class: "row tabs", role: "group", "aria-label": "Pieces" }, ...tabs), canvas,
    make("div", { class: "row" }, play, button("\u25A0 Stop", stop, { "aria-label": "Stop", "data-stop": "" }), time,
      make("label", {}, "Volume ", volume), speed, make("label", {}, loop, " Loop"),
      make("span", { class: "group", role: "group", "aria-label": "View" }, ...choices)),
    make("div", { class: "row strips" }, ...strips),
    make("div", { class: "row" }, downloads, status));
  root.querySelectorAll(".lakhnes-deck").forEach(old => old.remove());
  root.append(deck);
  root.classList.add("lakhnes-ready");
  if (tabs.length === 0) deck.querySelector(".tabs").remove();

  // --- sound: one audio element a piece; its source is Python's rendering, or a mix made here ---
  const audible = v => (mixer.solo.some(Boolean) ? mixer.solo[v] : !mixer.mute[v]);
  const mixName = () => (!piece.notes ? "full" : [0, 1, 2, 3].every(audible) && mixer.duty.every(d => d < 0) ? "full"
    : [0, 1, 2, 3].map(v => Number(audible(v))).join("") + mixer.duty.join());
  function mix(p, name) {
    if (!p.mixes.has("full")) p.mixes.set("full", { url: p.audio.src, ...sound.fromWav(p.audio.src) });
    if (!p.mixes.has(name)) {
      const full = p.mixes.get("full");
      const samples = sound.render(p, [0, 1, 2, 3].map(audible), mixer.duty, full.rate);
      p.mixes.set(name, { url: URL.createObjectURL(sound.toWav(samples, full.rate)), rate: full.rate, samples });
      for (const old of [...p.mixes.keys()].slice(1, -8)) {
        if (old === p.loaded) continue;
        URL.revokeObjectURL(p.mixes.get(old).url);
        p.mixes.delete(old);
      }
    }
    return p.mixes.get(name);
  }
  function load() {
    const name = mixName();
    if ((piece.loaded ?? "full") !== name) {
      const { audio } = piece, at = audio.currentTime, playing = !audio.paused, url = mix(piece, name).url;
      piece.loaded = name;
      audio.src = url;
      audio.currentTime = at;
      if (playing) start(audio);
    }
    draw();
  }
  function remix(kind, v, value) {
    mixer[kind][v] = value;
    strips.forEach((strip, i) => {
      press(strip.querySelector("[data-mute]"), mixer.mute[i]);
      press(strip.querySelector("[data-solo]"), mixer.solo[i]);
      strip.classList.toggle("silent", !audible(i));
    });
    status.textContent = "Rendering\u2026";
    setTimeout(() => { load(); status.textContent = note(); });
  }
  function toggle() { if (piece.audio.paused) start(piece.audio); else piece.audio.pause(); }
  // A start that a newer wish overtakes (a pause, another mix) is no error.
  function start(audio) { audio.play().catch(error => { if (error.name !== "AbortError") status.textContent = error.message; }); }
  function stop() { piece.audio.pause(); seek(0); }
  function seek(to) { piece.audio.currentTime = Math.max(0, Math.min(piece.length, to)); draw(); }
  function change(index) {
    const old = piece, at = old.audio.currentTime, playing = !old.audio.paused;
    piece = pieces[index];
    if (old !== piece) {
      old.audio.pause();
      piece.audio.currentTime = Math.min(at, piece.length);
      if (playing) start(piece.audio);
    }
    tabs.forEach((tab, i) => press(tab, i === index));
    pieces.forEach(p => { p.figure.hidden = p !== piece; });
    strips.forEach(strip => { strip.hidden = !piece.notes; });
    links();
    load();
    status.textContent = note();
    show(wanted);
  }
  const note = () => (piece.total > piece.length + 0.05
    ? `The first ${views.clock(piece.length)} of ${views.clock(piece.total)}; MIDI and VGM hold all of it.` : "");
  function links() {
    const wav = make("a", { href: "#", role: "button", "data-download": "wav", download: `${piece.file}.wav`,
      onclick: () => { wav.href = mix(piece, mixName()).url; } }, "WAV");
    downloads.replaceChildren("Download: ", wav,
      ...[...piece.figure.querySelectorAll("a[download]")].map(link => link.cloneNode(true)));
  }

  // --- views: a still picture for each state, and over it the line that moves ---
  const still = document.createElement("canvas");
  const view = () => (piece.notes ? wanted : wanted.replace("roll", "waveform"));
  function show(name) {
    wanted = name;
    choices.forEach(b => { press(b, b.dataset.view === view()); b.hidden = b.dataset.view === "roll" && !piece.notes; });
    draw();
  }
  function draw() {
    const width = canvas.clientWidth, height = canvas.clientHeight, scale = window.devicePixelRatio || 1;
    const style = getComputedStyle(root), colour = name => style.getPropertyValue(`--lk-${name}`).trim();
    const at = piece.audio.currentTime, playing = !piece.audio.paused;
    play.textContent = playing ? "\u275A\u275A Pause" : "\u25B6 Play";
    play.setAttribute("aria-label", playing ? "Pause" : "Play");
    time.textContent = `${views.clock(at)} / ${views.clock(piece.length)}`;
    canvas.setAttribute("aria-valuemax", piece.length.toFixed(1));
    canvas.setAttribute("aria-valuenow", at.toFixed(1));
    canvas.setAttribute("aria-valuetext", `${Math.round(at)} of ${Math.round(piece.length)} seconds`);
    if (!width) return;
    const waves = view() === "waveform", tall = (height - TOP - BOTTOM) * (waves ? 0.4 : 1);
    const box = { x: LEFT, y: TOP, w: width - LEFT - RIGHT, h: tall };
    const state = [view(), pieces.indexOf(piece), mixName(), width, height, scale, colour("ink"), colour("ground")].join();
    if (state !== seen) {
      seen = state;
      for (const c of [still, canvas]) { c.width = Math.round(width * scale); c.height = Math.round(height * scale); }
      scene = { pen: still.getContext("2d"), box, colour, piece, whole, audible };
      if (view() !== "roll") {
        piece.peak ??= mix(piece, "full").samples.reduce((peak, value) => Math.max(peak, Math.abs(value)), 0.01);
        Object.assign(scene, mix(piece, mixName()), { peak: piece.peak });
      }
      scene.pen.setTransform(scale, 0, 0, scale, 0, 0);
      scene.pen.font = "11px system-ui, sans-serif";
      views.axis(scene);
      views[view()](scene);
    }
    const pen = canvas.getContext("2d");
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.clearRect(0, 0, canvas.width, canvas.height);
    pen.drawImage(still, 0, 0);
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    pen.font = scene.pen.font;
    if (waves) views.scope({ ...scene, pen, box: { ...box, y: TOP + 1.5 * tall, h: 1.1 * tall } }, at);
    pen.fillStyle = colour("line");
    pen.fillRect(box.x + box.w * Math.min(1, at / whole) - 1, box.y - 4, 2, box.h + 8);
  }
  function animate() {
    cancelAnimationFrame(frame);
    draw();
    if (!piece.audio.paused) frame = requestAnimationFrame(animate);
  }
  // --- hands: pointer and keys ---
  const point = event => {
    const box = canvas.getBoundingClientRect();
    seek((event.clientX - box.left - LEFT) / (box.width - LEFT - RIGHT) * whole);
  };
  canvas.addEventListener("pointerdown", event => { canvas.setPointerCapture(event.pointerId); canvas.focus(); point(event); });
  canvas.addEventListener("pointermove", event => { if (event.buttons & 1) point(event); });
  deck.addEventListener("keydown", event => {
    if (event.target.matches("select, input") || event.ctrlKey || event.metaKey || event.altKey) return;
    const far = event.shiftKey ? 5 : 1, at = piece.audio.currentTime;
    const act = { ArrowLeft: () => seek(at - far), ArrowRight: () => seek(at + far), Home: () => seek(0), End: () => seek(piece.length) }[event.key]
      ?? (event.key === " " && event.target === canvas ? toggle : undefined);
    if (!act) return;
    act();
    event.preventDefault();
    event.stopPropagation();
  });
  for (const p of pieces) {
    p.audio.volume = Number(volume.value);
    for (const name of ["play", "pause", "ended", "seeked"]) p.audio.addEventListener(name, animate);
  }
  new ResizeObserver(() => draw()).observe(canvas);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  new MutationObserver(draw).observe(document.body, { attributes: true, attributeFilter: ["data-jp-theme-light", "class"] });
  strips.forEach(strip => strip.querySelectorAll("[data-mute], [data-solo]").forEach(b => press(b, false)));
  change(0);
}

const here = document.currentScript && document.currentScript.closest(".lakhnes-player");
for (const root of here ? [here] : document.querySelectorAll(".lakhnes-player")) {
  if (root.lakhnesBuilt) continue;
  root.lakhnesBuilt = true;
  build(root);
}
