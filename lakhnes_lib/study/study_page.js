// A listening test on one page: consent, pairs of clips, answers kept in this browser until they are downloaded.
(() => {
  const study = JSON.parse(document.getElementById("trials").textContent);
  const root = document.getElementById("study"), KEY = `listening-test-${study.key}`;
  const QUESTION = { turing: "Which of the two was composed by a human?", preference: "Which of the two do you prefer?" };
  const TASK = {
    turing: "In each pair one clip was composed by a human, the other by a computer. You say which is the human's.",
    preference: "In each pair you say which of the two clips you prefer.",
  };
  let state = { sessions: [] }, kept = true, players = [], heard = [false, false];

  // --- what stays in the browser ---
  try {
    state = JSON.parse(localStorage.getItem(KEY)) ?? state;
    localStorage.setItem(KEY, JSON.stringify(state));
  } catch { kept = false; }
  const session = () => state.sessions.at(-1);
  function keep() {
    try { localStorage.setItem(KEY, JSON.stringify(state)); } catch { kept = false; }
  }
  addEventListener("storage", event => { if (event.key === KEY) location.reload(); });
  addEventListener("beforeunload", event => { if (!kept && session()?.answers.length) event.preventDefault(); });

  function newSession() {
    const number = crypto.getRandomValues(new Uint32Array(2));
    state.sessions.push({ listener: `p${[...number].map(n => n.toString(16).padStart(8, "0")).join("")}`, answers: [] });
    keep();
    show();
  }
  const csv = () => ["listener,design,trial,choice,time", ...state.sessions.flatMap(({ listener, answers }) =>
    answers.map(({ trial, choice, time }) => [listener, study.design, trial, choice, time].join(",")))].join("\n") + "\n";

  // --- elements ---
  const { make, button } = elements;
  const download = (text, attributes) => button(text, () => {
    const url = URL.createObjectURL(new Blob([csv()], { type: "text/csv" }));
    make("a", { href: url, download: `answers_${study.design}_${session().listener}.csv` }).click();
    setTimeout(() => URL.revokeObjectURL(url), 60000);
  }, attributes);
  const remove = () => button("Delete my answers", () => {
    if (!confirm("Delete your answers from this browser?")) return;
    state.sessions.pop();
    keep();
    show();
  }, { class: "quiet", id: "delete" });
  function page(...children) {
    players.forEach(player => player.pause());
    root.replaceChildren(make("div", { class: "card" }, ...children));
    root.querySelector("[data-first]")?.focus();
  }

  function welcome() {
    const minutes = Math.max(1, Math.round(study.trials.length * (study.seconds * 2 + 6) / 60));
    page(make("h1", {}, study.title), make("p", {}, `You will hear ${study.trials.length} pairs of short clips of music, `
      + `${study.seconds} second${study.seconds === 1 ? "" : "s"} each, for the sound chip of a game console. ${TASK[study.kind]} It takes about ${minutes} `
      + `minute${minutes > 1 ? "s" : ""}; headphones are best.`),
      make("ul", {}, ...study.consent.map(line => make("li", {}, line))),
      make("div", { class: "row" }, button("I agree: start", newSession, { class: "main", id: "start", "data-first": "" }),
        ...state.sessions.length ? [download("Download the answers kept here", { class: "quiet" })] : []),
      ...kept ? [] : [make("p", { class: "quiet", role: "alert" }, "This browser keeps nothing: please finish in one go.")]);
  }

  function pair() {
    const done = session().answers.length, total = study.trials.length, trial = study.trials[done];
    heard = [false, false];
    players.forEach(player => player.pause());
    players = trial.clips.map((clip, side) => {
      const player = new Audio(`data:audio/wav;base64,${clip}`);
      player.addEventListener("timeupdate", () => {
        const bar = root.querySelectorAll(".play i")[side];
        if (bar && players[side] === player) bar.style.width = `${100 * player.currentTime / (player.duration || 1)}%`;
      });
      for (const name of ["play", "pause", "ended"]) player.addEventListener(name, () => {
        if (players[side] === player) label(side);
      });
      return player;
    });
    page(make("div", { class: "progress" }, make("progress", { max: total, value: done, "aria-label": "Pairs answered" }),
        make("span", { role: "status" }, `Pair ${done + 1} of ${total}`)),
      make("h1", { id: "question" }, QUESTION[study.kind]),
      make("div", { class: "pair", role: "group", "aria-labelledby": "question" }, ...["A", "B"].map((name, side) =>
        make("div", { class: "side" },
          button([make("b", {}, name), make("span", {}, "\u25B6 Play"), make("i")], () => play(side),
            { class: "play", "aria-label": `Play clip ${name}`, "data-play": name, ...side ? {} : { "data-first": "" } }),
          button(`Choose ${name}`, () => choose(side), { class: "choose", "data-choose": name, disabled: "" })))),
      make("p", { class: "quiet", id: "hint" }, "Listen to both clips, as often as you like; then choose."),
      make("div", { class: "row quiet" },
        button("Undo the last answer", undo, { class: "quiet", id: "undo", ...done ? {} : { disabled: "" } }), remove(),
        make("span", {}, "You can close this page at any time and go on later.")),
      make("p", { class: "quiet" }, "Keys: ", make("kbd", {}, "A"), " ", make("kbd", {}, "B"), " play, ", make("kbd", {}, "1"), " ",
        make("kbd", {}, "2"), " or ", make("kbd", {}, "\u2190"), " ", make("kbd", {}, "\u2192"), " choose, ", make("kbd", {}, "U"), " undo"));
  }
  function label(side) {
    const element = root.querySelectorAll(".play")[side], on = !players[side].paused;
    if (!element) return;
    element.querySelector("span").textContent = on ? "\u25A0 Stop" : "\u25B6 Play";
    element.setAttribute("aria-label", `${on ? "Stop" : "Play"} clip ${"AB"[side]}`);
  }
  function play(side) {
    const player = players[side], start = player.paused;
    players.forEach(other => { other.pause(); other.currentTime = 0; });
    if (!start) return;
    player.play().catch(() => {});
    heard[side] = true;
    if (heard.every(Boolean)) root.querySelectorAll(".choose").forEach(element => { element.disabled = false; });
  }
  function choose(side) {
    if (!heard.every(Boolean)) return;
    const { answers } = session();
    answers.push({ trial: study.trials[answers.length].id, choice: "ab"[side], time: new Date().toISOString() });
    keep();
    show();
  }
  function undo() {
    if (!session().answers.length) return;
    session().answers.pop();
    keep();
    show();
  }

  function end() {
    page(make("h1", {}, "Thank you!"), make("p", { role: "status" }, `All ${study.trials.length} pairs are answered. Nothing has been `
      + "sent: please download your answers and give the file to whoever asked you."),
      make("div", { class: "row" }, download("Download the answers (CSV)", { class: "main", id: "download", "data-first": "" }),
        button("Next listener", welcome, { id: "next" })),
      make("p"), make("details", {}, make("summary", {}, "Or copy them as text"),
        make("textarea", { readonly: "", "aria-label": "Answers as text" }, csv())),
      make("p"), make("div", { class: "row" }, button("Undo the last answer", undo, { class: "quiet", id: "undo" }), remove()));
  }

  function show() {
    if (!session()) welcome();
    else if (session().answers.length < study.trials.length) pair();
    else end();
  }
  const KEYS = { a: () => play(0), b: () => play(1), 1: () => choose(0), 2: () => choose(1), arrowleft: () => choose(0),
    arrowright: () => choose(1), u: undo };
  addEventListener("keydown", event => {
    const act = KEYS[event.key.toLowerCase()];
    if (!act || !root.querySelector("[data-play], #undo") || event.repeat || event.ctrlKey || event.metaKey || event.altKey || event.target.closest("textarea")) return;
    if (session().answers.length === study.trials.length && event.key.toLowerCase() !== "u") return;
    event.preventDefault();
    act();
  });
  show();
})();
