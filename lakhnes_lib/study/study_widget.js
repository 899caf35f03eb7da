// Keys of a listening test in a notebook: A and B play, 1 and 2 choose, U takes back.
(() => {
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
  function listen(box) {
    box.dataset.hasKeys = "true";
    // JupyterLab's own commands for these keys stay away.
    box.dataset.lmSuppressShortcuts = "true";
    box.tabIndex = 0;
    box.addEventListener("keydown", event => {
      const act = keys[event.key.toLowerCase()];
      if (!act || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      event.stopPropagation();
      act(box);
      box.focus();
    });
  }
  // The widgets appear a little after this script.
  function look(times) {
    const boxes = document.querySelectorAll(".lakhnes-study:not([data-has-keys])");
    boxes.forEach(listen);
    if (!boxes.length && times) setTimeout(look, 200, times - 1);
  }
  look(100);
})();
