// Keys of a listening test in a notebook: A and B play, 1 and 2 choose, U takes back.
(() => {
  const act = {
    1: box => box.querySelector(".lakhnes-a").click(),
    2: box => box.querySelector(".lakhnes-b").click(),
    u: box => box.querySelector(".lakhnes-undo").click(),
    a: box => play(box, 0),
    b: box => play(box, 1),
  };
  function play(box, side) {
    const sounds = [...box.querySelectorAll("audio")], start = sounds[side]?.paused;
    sounds.forEach(sound => { sound.pause(); sound.currentTime = 0; });
    if (start) sounds[side].play();
  }
  function wire(box) {
    box.dataset.wired = "true";
    box.dataset.lmSuppressShortcuts = "true"; // JupyterLab's own commands for these keys stay away
    box.tabIndex = 0;
    box.addEventListener("keydown", event => {
      const wanted = act[event.key.toLowerCase()];
      if (!wanted || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      event.stopPropagation();
      wanted(box);
      box.focus();
    });
  }
  function look(times) { // the widgets appear a little after this script
    const found = document.querySelectorAll(".lakhnes-study:not([data-wired])");
    found.forEach(wire);
    if (!found.length && times) setTimeout(look, 200, times - 1);
  }
  look(100);
})();
