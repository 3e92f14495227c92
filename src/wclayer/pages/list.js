// A list that can be searched, filtered and sorted, in the place of the table that is read without JavaScript.
const UNITS = ["B", "KiB", "MiB", "GiB", "TiB"];
const amount = (value) => (value === null ? "–" : number(value));

function size(bytes) {
  if (bytes === null) return "–";
  let unit = 0;
  while (bytes >= 1024 && unit < UNITS.length - 1) {
    bytes /= 1024;
    unit += 1;
  }
  return `${unit ? bytes.toFixed(1) : bytes} ${UNITS[unit]}`;
}

// An element of a table states its role: in a narrow window, its style takes it.
function cell(tag, role, className, ...children) {
  const element = make(tag, className, ...children);
  element.setAttribute("role", role);
  return element;
}

function choice(entries) {
  const select = make("select", "");
  for (const [value, text] of entries) {
    const option = make("option", "", text);
    option.value = value;
    select.append(option);
  }
  return select;
}

// The order of two values: texts by their characters, numbers by size, what is not known at the end.
function compare(a, b, direction) {
  if (a === null || b === null) return (a === null) - (b === null);
  return (a < b ? -1 : a > b ? 1 : 0) * direction;
}

// Puts the list into an element.
// caption: the caption of the table. rows: arrays. left: how many rows are not in the page. things: what rows are.
// columns: of each, its title, the place of its value in a row, whether that is a number, whether the highest comes
//   first when it is sorted, and what makes its content of a row. The first column is the head of a row.
// found: the text of a row in which is searched, and the label of the search.
// filters: of each, its label, its name, its entries (value and text), and what tells whether a row has a value.
// first: the place among the columns of the one by which the rows are sorted already; -1 if that is none.
// ties: for the place of a value, those of the values by which rows are sorted that are equal, and whether each goes
//   in the same direction; otherwise the lowest comes first.
// step: how many rows are made at once.
function sortableList(place, { caption, rows, left, things, columns, found, filters, first, ties, step = STEP }) {
  const search = make("input", "");
  search.type = "search";
  search.name = "text";
  const field = (label, control) => make("label", "", label, control);
  const choices = filters.map(({ name, entries }) => {
    const select = choice([["", "any"], ...entries]);
    select.name = name;
    return select;
  });
  const controls = make("form", "controls", field(found.label, search),
    ...filters.map(({ label }, index) => field(label, choices[index])));
  controls.setAttribute("role", "search");
  controls.setAttribute("aria-label", caption);
  controls.addEventListener("submit", (event) => event.preventDefault());

  const told = make("p", "note");
  told.setAttribute("role", "status");
  const body = cell("tbody", "rowgroup", "");
  let sorted = columns[first] || null;
  let direction = 1;
  const heads = columns.map((column) => {
    const button = make("button", "", column.title);
    button.type = "button";
    const head = cell("th", "columnheader", column.isNumber ? "number" : "", button);
    head.scope = "col";
    button.addEventListener("click", () => {
      direction = sorted === column ? -direction : column.highestFirst ? -1 : 1;
      sorted = column;
      show();
    });
    return head;
  });
  const table = cell("table", "table", "wide", make("caption", "", `${caption}; the head of a column sorts by it`),
    cell("thead", "rowgroup", "", cell("tr", "row", "", ...heads)), body);

  function line(row) {
    const head = cell("th", "rowheader", "", ...columns[0].content(row));
    head.scope = "row";
    const cells = columns.slice(1).map((column) => {
      const made = cell("td", "cell", column.isNumber ? "number" : "", ...column.content(row));
      made.dataset.name = column.title;
      return made;
    });
    return cell("tr", "row", "", head, ...cells);
  }

  let lowered = null; // what is searched; it is made for the first search

  function show() {
    const text = search.value.toLowerCase();
    if (text) lowered ||= rows.map((row) => found.text(row).toLowerCase());
    const shown = rows.filter((row, at) => (!text || lowered[at].includes(text)) &&
      filters.every(({ has }, index) => !choices[index].value || has(row, choices[index].value)));
    if (sorted) {
      const order = [[sorted.index, true], ...ties(sorted.index)];
      shown.sort((a, b) => {
        for (const [index, follows] of order) {
          const result = compare(a[index], b[index], follows ? direction : 1);
          if (result) return result;
        }
        return 0;
      });
    }
    heads.forEach((head, at) => {
      if (columns[at] === sorted) head.setAttribute("aria-sort", direction > 0 ? "ascending" : "descending");
      else head.removeAttribute("aria-sort");
    });
    told.textContent = `${number(shown.length)} of ${number(rows.length)} ${things}` +
      (left ? `; ${number(left)} more are not in this page` : "");
    body.replaceChildren();
    fill(body, shown, line, (button) => {
      const last = cell("td", "cell", "", button);
      last.colSpan = columns.length;
      return cell("tr", "row", "", last);
    }, step);
  }

  let timer = 0;
  search.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(show, 120);
  });
  controls.addEventListener("change", show);
  place.replaceChildren(controls, told, table);
  show();
}
