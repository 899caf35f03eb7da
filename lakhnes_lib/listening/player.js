// Brings the controls of a player (player.html) to life: mixer, views, downloads.
// Every player has its own state; nothing on the page outside of it is touched.
function build(root) {
  const one = selector => root.querySelector(selector);
  const all = selector => [...root.querySelectorAll(selector)];
  const pieces = all("figure").map((figure, i) => ({
    figure,
    picture: all(".picture")[i],
    audio: figure.querySelector("audio"),
    ...JSON.parse(figure.dataset.piece),
  }));
  const whole = Math.max(...pieces.map(piece => piece.length)) || 1; // seconds, for all pieces
  let piece = pieces[0], wantedView = "roll", frame = 0;

  const position = one("[type=range]"), status = one("[role=status]");
  const press = (button, on) => button.setAttribute("aria-pressed", String(on));
  const on = (selector, event, act) =>
    all(selector).forEach(element => element.addEventListener(event, () => act(element)));

  // --- sound: one audio element a piece; its source is Python's rendering, or a mix made here ---
  function audible() {
    const alone = all("[data-solo]").map(box => box.checked);
    return alone.includes(true) ? alone : all("[data-mute]").map(box => !box.checked);
  }
  const duties = () => all("[data-duty]").map(list => Number(list.value));
  function mixName() {
    const name = [...audible(), ...duties()].join();
    return piece.voices && name !== "true,true,true,true,-1,-1" ? name : "full";
  }
  function mix() {
    piece.mixes ??= { full: fromWav(piece.audio.src) };
    const { mixes } = piece;
    return (mixes[mixName()] ??= render(piece, audible(), duties(), mixes.full));
  }
  function load() {
    const name = mixName();
    if ((piece.loaded ?? "full") !== name) {
      const { audio } = piece, { currentTime, paused } = audio;
      Object.assign(audio, { src: mix().url, currentTime });
      piece.loaded = name;
      if (!paused) start(audio);
    }
    draw();
  }
  function remix() {
    audible().forEach((isHeard, voice) =>
      all(`.voice-${voice}`).forEach(part => part.classList.toggle("silent", !isHeard)));
    status.textContent = "Rendering\u2026";
    setTimeout(() => {
      load();
      status.textContent = "";
    });
  }
  function start(audio) {
    audio.play().catch(error => {
      // That a later wish (a pause, another mix) ends the start is no error.
      if (error.name !== "AbortError") status.textContent = error.message;
    });
  }
  function change(index) {
    const before = piece.audio, { currentTime, paused, volume, muted } = before;
    piece = pieces[index];
    if (before !== piece.audio) {
      before.pause();
      const time = Math.min(currentTime, piece.length);
      Object.assign(piece.audio, { currentTime: time, volume, muted });
      if (!paused) start(piece.audio);
    }
    all("button[data-piece]").forEach((button, i) => press(button, i === index));
    pieces.forEach(other => (other.figure.hidden = other.picture.hidden = other !== piece));
    all(".strip").forEach(strip => (strip.hidden = !piece.voices));
    load();
    show(wantedView);
  }

  // --- views: a picture of the piece, and over it the line that moves ---
  function show(name) {
    const view = piece.voices ? name : name.replace("roll", "waveform");
    wantedView = name;
    for (const button of all("[data-view]")) {
      press(button, button.dataset.view === view);
      button.hidden = button.dataset.view === "roll" && !piece.voices;
    }
    for (const part of piece.picture.children) part.hidden = part.className !== view;
    draw();
  }
  function draw() {
    const { currentTime } = piece.audio, seconds = `${Math.round(piece.length)} s`;
    position.value = currentTime;
    position.setAttribute("aria-valuetext", `${Math.round(currentTime)} of ${seconds}`);
    one(".line").style.left = `${100 * Math.min(1, currentTime / whole)}%`;
    const shown = piece.picture.querySelector(":scope > :not([hidden])");
    const picture = shown?.querySelector("svg, canvas"), view = shown?.className;
    if (!shown || view === "roll") return;
    if (picture.drawn !== mix()) {
      const loudest = (peak, value) => Math.max(peak, Math.abs(value));
      picture.drawn = mix();
      piece.peak ??= piece.mixes.full.samples.reduce(loudest, 0.01);
      views[view](picture, mix(), piece.peak);
    }
    if (view === "waveform") views.scope(shown.lastElementChild, mix(), currentTime);
  }
  function animate() {
    cancelAnimationFrame(frame);
    draw();
    if (!piece.audio.paused) frame = requestAnimationFrame(animate);
  }

  // --- buttons, pointer and keys ---
  on("button[data-piece]", "click", button => change(Number(button.dataset.piece)));
  on("[data-view]", "click", button => show(button.dataset.view));
  on(".strip :is(input, select)", "change", remix);
  on(".loop", "change", box => pieces.forEach(({ audio }) => (audio.loop = box.checked)));
  on(".speed", "change", list => {
    for (const { audio } of pieces) audio.defaultPlaybackRate = audio.playbackRate = list.value;
  });
  function seek(time) {
    piece.audio.currentTime = Math.max(0, Math.min(piece.length, time));
    draw();
  }
  on("[data-wav]", "click", link => (link.href = mix().url));
  on("[type=range]", "input", () => seek(position.value));
  position.addEventListener("keydown", event => {
    const step = event.shiftKey ? 5 : 1, time = piece.audio.currentTime;
    const keys = {
      ArrowLeft: () => seek(time - step),
      ArrowRight: () => seek(time + step),
      " ": () => (piece.audio.paused ? start(piece.audio) : piece.audio.pause()),
    };
    if (!keys[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
    keys[event.key]();
    event.preventDefault();
  });
  for (const { audio } of pieces) {
    audio.volume = 0.8;
    for (const name of ["play", "pause", "ended", "seeked"]) audio.addEventListener(name, animate);
  }
  for (const part of [one(".lakhnes-deck"), ...all("[data-wav]")]) part.hidden = false;
  root.classList.add("lakhnes-ready");
  change(0);
}

document.querySelectorAll(".lakhnes-player:not(.lakhnes-ready)").forEach(build);
