"use strict";
// What the scripts of all pages share. The script of the page itself follows.
const STEP = 200; // how many lines are made at once
const data = JSON.parse(document.getElementById("data").textContent);
const NUMBERS = new Intl.NumberFormat("en"); // making one takes most of the time of a text
const number = (count) => NUMBERS.format(count);

// Every text of the data becomes a text node; none is ever read as HTML.
function make(tag, className, ...children) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...children);
  return element;
}

// Appends the items to a list, some at a time. `line` makes the last line, which has the button for more;
// `step` is how many are made at once.
function fill(list, items, render, line = (button) => make("li", "", button), step = STEP) {
  let shown = 0;
  const button = make("button", "");
  button.type = "button";
  const more = line(button);
  function next() {
    const added = items.slice(shown, shown + step).map(render);
    shown += added.length;
    more.remove();
    list.append(...added);
    if (shown < items.length) {
      button.textContent = `Show ${number(Math.min(step, items.length - shown))} more of ${number(items.length - shown)}`;
      button.dataset.left = number(items.length - shown);
      list.append(more);
    }
    return added[0];
  }
  button.addEventListener("click", () => {
    const first = next();
    const target = first && first.querySelector("summary, button, a");
    if (target) target.focus();
  });
  next();
}
