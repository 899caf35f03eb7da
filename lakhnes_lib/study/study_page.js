// A listening test on one page (study_page.html): consent, pairs of clips, answers that stay in
// this browser until they are downloaded.
(() => {
  const study = JSON.parse(document.getElementById("trials").textContent);
  const storageKey = `listening-test-${study.key}`, total = study.trials.length;
  const one = selector => document.querySelector(selector);
  const all = selector => [...document.querySelectorAll(selector)];
  let state = { sessions: [] }; // a session: { listener, answers: [{ trial, choice, time }] }
  let storageWorks = true, players = [], heard = [false, false];
  const session = () => state.sessions.at(-1);
  const finished = () => session().answers.length === total;

  // --- what stays in the browser ---
  function store() {
    try {
      localStorage.setItem(storageKey, JSON.stringify(state));
    } catch {
      storageWorks = false;
    }
  }
  try {
    state = JSON.parse(localStorage.getItem(storageKey)) ?? state;
  } catch {
    storageWorks = false;
  }
  store();
  addEventListener("storage", event => {
    if (event.key === storageKey) location.reload();
  });
  addEventListener("beforeunload", event => {
    if (!storageWorks && session()?.answers.length) event.preventDefault();
  });
  function csv() {
    const rows = state.sessions.flatMap(({ listener, answers }) =>
      answers.map(({ trial, choice, time }) => [listener, study.design, trial, choice, time]));
    const lines = [["listener", "design", "trial", "choice", "time"], ...rows];
    return lines.map(line => line.join() + "\n").join("");
  }

  // --- what listeners do ---
  function changed() {
    store();
    show();
  }
  function begin() {
    const bytes = [...crypto.getRandomValues(new Uint8Array(8))];
    const digits = bytes.map(byte => byte.toString(16).padStart(2, "0")).join("");
    state.sessions.push({ listener: `p${digits}`, answers: [] });
    changed();
  }
  function undo() {
    session().answers.pop();
    changed();
  }
  function remove() {
    if (!confirm("Delete your answers from this browser?")) return;
    state.sessions.pop();
    changed();
  }
  function download() {
    const url = URL.createObjectURL(new Blob([csv()], { type: "text/csv" }));
    const name = `answers_${study.design}_${session().listener}.csv`;
    Object.assign(document.createElement("a"), { href: url, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(url), 60000);
  }
  function play(side) {
    const player = players[side], start = player.paused;
    for (const other of players) {
      other.pause();
      other.currentTime = 0;
    }
    if (!start) return;
    player.play().catch(() => {});
    heard[side] = true;
    all(".choose").forEach(button => (button.disabled = !heard.every(Boolean)));
  }
  function choose(side) {
    if (!heard.every(Boolean)) return;
    const { answers } = session(), { id } = study.trials[answers.length];
    answers.push({ trial: id, choice: "ab"[side], time: new Date().toISOString() });
    changed();
  }

  // --- what they see ---
  function open(name) {
    players.forEach(player => player.pause());
    all("section").forEach(section => (section.hidden = section.id !== name));
    one(`#${name} button`).focus();
  }
  function welcome() {
    one("#welcome [data-act=download]").hidden = state.sessions.length === 0;
    one("#welcome [role=alert]").hidden = storageWorks;
    open("welcome");
  }
  function label(side) {
    const button = all(".play")[side], playing = !players[side].paused;
    button.querySelector("span").textContent = playing ? "\u25A0 Stop" : "\u25B6 Play";
    button.setAttribute("aria-label", `${playing ? "Stop" : "Play"} clip ${"AB"[side]}`);
  }
  function newPlayer(clip, side) {
    const player = new Audio(`data:audio/wav;base64,${clip}`), bar = all(".play i")[side];
    function show() {
      if (players[side] !== player) return; // the next pair has come
      bar.style.width = `${(100 * player.currentTime) / player.duration || 0}%`;
      label(side);
    }
    const news = ["timeupdate", "play", "pause", "ended"];
    news.forEach(name => player.addEventListener(name, show));
    bar.style.width = 0;
    return player;
  }
  function pair() {
    const done = session().answers.length;
    players.forEach(player => player.pause());
    players = study.trials[done].clips.map(newPlayer);
    players.forEach((_, side) => label(side));
    heard = [false, false];
    all(".choose").forEach(button => (button.disabled = true));
    one("#pair [data-act=undo]").disabled = done === 0;
    one("progress").value = done;
    one("#position").textContent = `Pair ${done + 1} of ${total}`;
    open("pair");
  }
  function show() {
    if (!session()) welcome();
    else if (!finished()) pair();
    else {
      one("textarea").value = csv();
      open("end");
    }
  }

  const acts = { begin, undo, remove, download, welcome };
  all("[data-act]").forEach(button => button.addEventListener("click", acts[button.dataset.act]));
  all(".play").forEach((button, side) => button.addEventListener("click", () => play(side)));
  all(".choose").forEach((button, side) => button.addEventListener("click", () => choose(side)));
  const keys = { a: () => play(0), b: () => play(1), 1: () => choose(0), 2: () => choose(1) };
  Object.assign(keys, { arrowleft: keys[1], arrowright: keys[2] });
  addEventListener("keydown", event => {
    if (event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest("textarea") || !one("#welcome").hidden) return;
    const key = event.key.toLowerCase();
    const act = key === "u" && session().answers.length ? undo : finished() ? undefined : keys[key];
    if (!act) return;
    event.preventDefault();
    act();
  });
  show();
})();
