(() => {
  const COLUMNS = [
    // name, place in a row of the data, text; a column of numbers begins with the highest when it is sorted
    ["reference", 0],
    ["Windows", 2, (row) => version(row) || "–"],
    ["levels behind", 4, (row) => amount(row[4])],
    ["days", 5, (row) => amount(row[5])],
    ["size", 6, (row) => size(row[6])],
    ["own", 7, (row) => size(row[7])],
    ["layers", 8, (row) => amount(row[8])],
    ["findings", 9, (row) => amount(row[9])],
    ["status", 10, (row) => data.status[row[10]]],
  ];
  const UNITS = ["B", "KiB", "MiB", "GiB", "TiB"];
  const rows = data.images;
  const details = new Map(data.details);
  const place = document.querySelector(".listed");

  const isNumber = (index) => index > 2 && index < 10;
  const amount = (value) => (value === null ? "–" : number(value));
  const version = (row) => row.slice(2, 4).filter((each) => each !== null).join(".");

  function size(bytes) {
    if (bytes === null) return "–";
    let unit = 0;
    while (bytes >= 1024 && unit < UNITS.length - 1) {
      bytes /= 1024;
      unit += 1;
    }
    return `${unit ? bytes.toFixed(1) : bytes} ${UNITS[unit]}`;
  }

  function cell(tag, role, className, ...children) {
    const element = make(tag, className, ...children);
    element.setAttribute("role", role);
    return element;
  }

  function line(row) {
    const name = make("bdi", "", row[0]);
    const link = make("a", "", name);
    link.href = `#image-${details.get(row[1])}`;
    const head = cell("th", "rowheader", "", details.has(row[1]) ? link : name);
    head.scope = "row";
    if (row[11]) head.append(make("div", "note", make("bdi", "", row[11])));
    const cells = COLUMNS.slice(1).map(([title, index, text]) => {
      const content = index === 10 ? make("span", row[10], text(row)) : text(row);
      const made = cell("td", "cell", isNumber(index) ? "number" : "", content);
      made.dataset.name = title;
      return made;
    });
    return cell("tr", "row", "", head, ...cells);
  }

  // The order of two values: texts by their characters, numbers by size, what is not known at the end.
  function compare(a, b, direction) {
    if (a === null || b === null) return (a === null) - (b === null);
    return (a < b ? -1 : a > b ? 1 : 0) * direction;
  }

  function field(label, control, name) {
    control.name = name;
    return make("label", "", label, control);
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

  const search = make("input", "");
  search.type = "search";
  const counts = new Map();
  for (const row of rows) if (row[2] !== null) counts.set(row[2], (counts.get(row[2]) || 0) + 1);
  const builds = [...counts].sort((a, b) => b[0] - a[0]).map(([build, count]) => [build, `${build} (${number(count)})`]);
  const build = choice([["", "any"], ...builds]);
  const level = choice([["", "any"], ["newest", "newest"], ["behind", "behind"], ["unknown", "unknown"]]);
  const states = Object.entries(data.status).filter(([state]) => rows.some((row) => row[10] === state));
  const status = choice([["", "any"], ...states]);
  const controls = make("form", "controls",
    field("Reference, digest or version contains", search, "text"), field("Build of Windows", build, "build"),
    field("Patch level", level, "level"), field("Status", status, "status"));
  controls.setAttribute("role", "search");
  controls.addEventListener("submit", (event) => event.preventDefault());

  const told = make("p", "note");
  told.setAttribute("role", "status");
  const body = cell("tbody", "rowgroup", "");
  let sorted = 0;
  let direction = 1;
  const heads = COLUMNS.map(([title, index], column) => {
    const button = make("button", "", title);
    button.type = "button";
    const head = cell("th", "columnheader", isNumber(index) ? "number" : "", button);
    head.scope = "col";
    button.addEventListener("click", () => {
      direction = sorted === column ? -direction : index === 2 || isNumber(index) ? -1 : 1;
      sorted = column;
      show();
    });
    return head;
  });
  const table = cell("table", "table", "wide", make("caption", "", "Images; the head of a column sorts by it"),
    cell("thead", "rowgroup", "", cell("tr", "row", "", ...heads)), body);

  let lowered = null; // what is searched; it is made for the first search
  const atLevel = {
    newest: (row) => row[4] === 0,
    behind: (row) => row[4] > 0,
    unknown: (row) => row[4] === null,
  };

  function show() {
    const text = search.value.toLowerCase();
    if (text) lowered ||= rows.map((row) => `${row[0]} ${row[1]} ${version(row)}`.toLowerCase());
    const index = COLUMNS[sorted][1];
    const found = rows.filter((row, at) =>
      (!text || lowered[at].includes(text)) && (!build.value || row[2] === Number(build.value)) &&
      (!level.value || atLevel[level.value](row)) && (!status.value || row[10] === status.value));
    found.sort((a, b) => compare(a[index], b[index], direction) ||
      (index === 2 && compare(a[3], b[3], direction)) || compare(a[0], b[0], 1));
    heads.forEach((head, column) => {
      if (column === sorted) head.setAttribute("aria-sort", direction > 0 ? "ascending" : "descending");
      else head.removeAttribute("aria-sort");
    });
    told.textContent = `${number(found.length)} of ${number(rows.length)} references` +
      (data.left ? `; ${number(data.left)} more are not in this page` : "");
    body.replaceChildren();
    fill(body, found, line, (button) => {
      const last = cell("td", "cell", "", button);
      last.colSpan = COLUMNS.length;
      return cell("tr", "row", "", last);
    });
  }

  let timer = 0;
  search.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(show, 120);
  });
  controls.addEventListener("change", show);
  if (rows.length) {
    place.replaceChildren(controls, told, table);
    show();
  }

  // A link to details opens them.
  function unfold() {
    const target = /^#image-\d+$/.test(location.hash) && document.getElementById(location.hash.slice(1));
    if (!target) return;
    target.closest("details").open = true;
    target.scrollIntoView();
  }
  addEventListener("hashchange", unfold);
  unfold();
})();
