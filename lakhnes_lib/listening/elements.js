// Elements of a page, for the player and the listening test. All text goes in as text, never as markup.
const elements = (() => {
  // attributes: "onclick" and the like are functions; one that is false is left out.
  function make(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes))
      if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else if (value !== false) element.setAttribute(name, value);
    element.append(...children);
    return element;
  }
  // content: a text, or a list of texts and elements.
  const button = (content, act, attributes = {}) =>
    make("button", { type: "button", onclick: act, ...attributes }, ...[content].flat());
  return { make, button };
})();
