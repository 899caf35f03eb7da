// A listening test on one page (study_page.html): consent, pairs of clips, answers that stay in
// this browser until they are downloaded.
const study = JSON.parse(document.getElementById("trials").textContent);
const storageKey = `listening-test-${study.key}`, total = study.trials.length;
const one = selector => document.querySelector(selector);
const all = selector => [...document.querySelectorAll(selector)];
let state = { sessions: [] }; // a session: { listener, answers: [{ trial, choice, time }] }
let storageWorks = true;
const players = all("audio"), heard = [false, false];
const session = () => state.sessions.at(-1);

// --- what stays in the browser ---
function attempt(access) {
  try {
    return access();
  } catch {
    storageWorks = false;
  }
}
const store = () => attempt(() => localStorage.setItem(storageKey, JSON.stringify(state)));
state = attempt(() => JSON.parse(localStorage.getItem(storageKey))) ?? state;
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
  state.sessions.pop();
  changed();
}
function download() {
  const url = URL.createObjectURL(new Blob([csv()], { type: "text/csv" }));
  const name = `answers_${study.design}_${session().listener}.csv`;
  Object.assign(document.createElement("a"), { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60000);
}
function toggle(player) {
  if (!player.paused) return player.pause();
  player.currentTime = 0;
  player.play().catch(() => {});
  plays(players.indexOf(player)); // at once, for a choice may follow before the event does
}
function plays(side) {
  players[1 - side].pause();
  heard[side] = true;
  allowChoice();
}
function allowChoice() {
  all(".choose").forEach(button => (button.disabled = !heard.every(Boolean)));
}
function choose(side) {
  const { answers } = session(), { id } = study.trials[answers.length];
  answers.push({ trial: id, choice: "ab"[side], time: new Date().toISOString() });
  changed();
}

// --- what they see ---
function open(name) {
  players.forEach(player => player.pause());
  all("section").forEach(section => (section.hidden = section.id !== name));
  all("details").forEach(details => (details.open = false));
  // In a notebook the page takes no focus from what is written there.
  if (document.hasFocus()) one(`#${name} :is(button, audio)`).focus();
}
function welcome() {
  one("#welcome [data-act=download]").hidden = state.sessions.length === 0;
  one("#welcome [role=alert]").hidden = storageWorks;
  open("welcome");
}
function pair() {
  const done = session().answers.length;
  study.trials[done].clips.forEach((clip, side) => {
    players[side].src = `data:audio/wav;base64,${clip}`;
    heard[side] = false;
  });
  allowChoice();
  one("#pair [data-act=undo]").disabled = done === 0;
  one("progress").value = done;
  one("#position").textContent = `Pair ${done + 1} of ${total}`;
  open("pair");
}
function show() {
  if (!session()) welcome();
  else if (session().answers.length < total) pair();
  else {
    one("textarea").value = csv();
    open("end");
  }
}

const acts = { begin, undo, remove, download, welcome };
all("[data-act]").forEach(button => button.addEventListener("click", acts[button.dataset.act]));
// Where the event comes late, the other clip may have stopped this one already.
players.forEach((player, side) =>
  player.addEventListener("play", () => player.paused || plays(side)));
all(".choose").forEach((button, side) => button.addEventListener("click", () => choose(side)));
addEventListener("keydown", event => {
  if (event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
  const key = event.key.toLowerCase(), own = key.startsWith("arrow") ? "audio" : "textarea";
  if (event.target.closest(own)) return; // arrows seek in a clip, letters move in the text
  const target = one(`section:not([hidden]) [data-keys~=${JSON.stringify(key)}]`);
  if (!target) return;
  event.preventDefault();
  if (target.matches("audio")) toggle(target);
  else target.click();
});
show();
