// Keys of a listening test in a notebook: A and B play, 1 and 2 choose, U takes back.
(() => {
  if (window.lakhnesStudyKeys) return; // another cell has brought them
  window.lakhnesStudyKeys = true;
  function play(chosen, box) {
    const start = chosen.paused;
    for (const sound of box.querySelectorAll("audio")) {
      sound.pause();
      sound.currentTime = 0;
    }
    if (start) chosen.play().catch(() => {}); // a pause before the sound has begun is no fault
  }
  function act(event) {
    const box = event.target.closest(".lakhnes-study"), key = CSS.escape(event.key.toLowerCase());
    const target = box?.querySelector(`[aria-label="Clip ${key}" i] audio, .lakhnes-key-${key}`);
    if (!target || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation();
    if (target.matches("audio")) play(target, box);
    else target.click();
    box.focus();
  }
  // Before the notebook's own commands for these keys hear of them.
  window.addEventListener("keydown", act, { capture: true });
})();
