// Keys of a listening test in a notebook: A and B play, 1 and 2 choose, U takes back.
(() => {
  if (window.lakhnesStudyKeys) return; // another cell has brought them
  window.lakhnesStudyKeys = true;
  const press = name => box => box.querySelector(`.lakhnes-${name}`).click();
  const keys = {
    1: press("a"),
    2: press("b"),
    u: press("undo"),
    a: box => play(box, 0),
    b: box => play(box, 1),
  };
  function play(box, side) {
    const sounds = [...box.querySelectorAll("audio")], start = sounds[side]?.paused;
    for (const sound of sounds) {
      sound.pause();
      sound.currentTime = 0;
    }
    if (start) sounds[side].play();
  }
  function act(event) {
    const box = event.target.closest(".lakhnes-study"), key = keys[event.key.toLowerCase()];
    if (!box || !key || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation();
    key(box);
    box.focus();
  }
  // Before the notebook's own commands for these keys hear of them.
  window.addEventListener("keydown", act, { capture: true });
})();
