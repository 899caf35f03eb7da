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
  const change = act => () => {
    act();
    store();
    show();
  };
  const begin = change(() => {
    const numbers = [...crypto.getRandomValues(new Uint32Array(2))];
    const digits = numbers.map(number => number.toString(16).padStart(8, "0")).join("");
    state.sessions.push({ listener: `p${digits}`, answers: [] });
  });
  const undo = change(() => session().answers.pop());
  const remove = () => {
    const sure = confirm("Delete your answers from this browser?");
    if (sure) change(() => state.sessions.pop())();
  };
  function download() {
    const url = URL.createObjectURL(new Blob([csv()], { type: "text/csv" }));
    const link = document.createElement("a");
    link.href = url;
    link.download = `answers_${study.design}_${session().listener}.csv`;
    link.click();
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
    const answer = { trial: id, choice: "ab"[side], time: new Date().toISOString() };
    change(() => answers.push(answer))();
  }

  // --- what they see ---
  function open(name) {
    players.forEach(player => player.pause());
    all("section").forEach(section => (section.hidden = section.id !== name));
    one(`#${name} [data-first]`).focus();
  }
  function welcome() {
    one("#earlier").hidden = state.sessions.length === 0;
    one("#forgetful").hidden = storageWorks;
    open("welcome");
  }
  function label(side) {
    const button = all(".play")[side], playing = !players[side].paused;
    button.querySelector("span").textContent = playing ? "\u25A0 Stop" : "\u25B6 Play";
    button.setAttribute("aria-label", `${playing ? "Stop" : "Play"} clip ${"AB"[side]}`);
  }
  function newPlayer(clip, side) {
    const player = new Audio(`data:audio/wav;base64,${clip}`), bar = all(".play i")[side];
    const ifCurrent = act => () => {
      if (players[side] === player) act();
    };
    const move = () => (bar.style.width = `${(100 * player.currentTime) / player.duration || 0}%`);
    bar.style.width = 0;
    player.addEventListener("timeupdate", ifCurrent(move));
    for (const name of ["play", "pause", "ended"])
      player.addEventListener(name, ifCurrent(() => label(side)));
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
  for (const button of all("[data-act]"))
    button.addEventListener("click", acts[button.dataset.act]);
  all("[data-play]").forEach((button, side) => button.addEventListener("click", () => play(side)));
  all("[data-choose]").forEach((button, side) =>
    button.addEventListener("click", () => choose(side)));
  const keys = {
    a: () => play(0),
    b: () => play(1),
    1: () => choose(0),
    2: () => choose(1),
    arrowleft: () => choose(0),
    arrowright: () => choose(1),
  };
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
