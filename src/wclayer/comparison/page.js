(() => {
  const LEVELS = 64; // how deep the tree is; the rest of a path is one name
  const WORDS = { "+": "added", "-": "removed", "~": "changed" };

  function kindsOf(fields) {
    return Object.keys(data.kinds).filter((kind) => fields.some(([name]) => data.kinds[kind].includes(name)));
  }

  function line(row, text) {
    const [mark, , , note, fields] = row;
    const children = [make("span", `mark ${WORDS[mark]}`, WORDS[mark]), " ", make("span", "path", text)];
    if (note) children.push(" ", make("span", "note", note));
    if (!fields.length) return make("div", "", ...children);
    const details = make("details", "", make("summary", "", ...children));
    details.addEventListener("toggle", () => {
      if (details.querySelector("dl")) return;
      const list = make("dl", "fields");
      for (const [name, value] of fields) list.append(make("dt", "", name), make("dd", "", data.strings[value]));
      details.append(list);
    });
    return details;
  }

  function tree(rows, separator) {
    const root = { below: new Map(), rows: [], count: 0 };
    for (const row of rows) {
      const names = row[1].split(separator);
      if (names.length > LEVELS) names.splice(LEVELS - 1, names.length, names.slice(LEVELS - 1).join(separator));
      let node = root;
      for (const name of names) {
        let next = node.below.get(name);
        if (!next) node.below.set(name, (next = { below: new Map(), rows: [], count: 0 }));
        next.count += 1;
        node = next;
      }
      node.rows.push(row);
    }
    return root;
  }

  function branch([name, node], separator, opened) {
    const item = make("li", "");
    const own = node.rows.filter((row) => row[2] === null);
    const values = node.rows.filter((row) => row[2] !== null);
    if (!node.below.size && !values.length) {
      item.append(...own.map((row) => line(row, name)));
      return item;
    }
    const count = make("span", "note", ` ${number(node.count)} ${node.count === 1 ? "change" : "changes"}`);
    const details = make("details", "", make("summary", "", make("span", "path", name + separator), count));
    function open() {
      if (details.querySelector(":scope > ul")) return;
      const list = make("ul", "");
      details.append(list);
      const entries = [...own.map((row) => [row, "(itself)"]), ...values.map((row) => [row, row[2]]), ...node.below];
      fill(list, entries, (entry) =>
        Array.isArray(entry[0]) ? make("li", "", line(entry[0], entry[1])) : branch(entry, separator, false));
    }
    details.addEventListener("toggle", open);
    if (opened) {
      open();
      details.open = true;
    }
    item.append(details);
    return item;
  }

  function explore(section) {
    const { rows, separator, left } = data.lists[section.id];
    const place = section.querySelector(".changes");
    const controls = make("form", "controls");
    controls.addEventListener("submit", (event) => event.preventDefault());
    const search = make("input", "");
    search.type = "search";
    search.name = "text";
    controls.append(make("label", "", "Name contains ", search));
    const changes = make("fieldset", "", make("legend", "", "Show"));
    const boxes = Object.entries(WORDS).map(([mark, word]) => {
      const box = make("input", "");
      box.type = "checkbox";
      box.name = word;
      box.checked = true;
      box.value = mark;
      changes.append(make("label", "", box, ` ${word}`));
      return box;
    });
    controls.append(changes);
    const select = make("select", "", make("option", "", "anything"));
    select.name = "kind";
    select.firstChild.value = "";
    if (section.id === "files") {
      for (const kind of Object.keys(data.kinds)) select.append(make("option", "", kind));
      controls.append(make("label", "", "What changed ", select));
    }
    const status = make("p", "note");
    status.setAttribute("role", "status");
    const list = make("ul", "");
    const lowered = rows.map((row) => (row[2] === null ? row[1] : row[1] + separator + row[2]).toLowerCase());
    function show() {
      const text = search.value.toLowerCase();
      const marks = boxes.filter((box) => box.checked).map((box) => box.value);
      const kind = select.value;
      const found = rows.filter((row, index) =>
        marks.includes(row[0]) && (!text || lowered[index].includes(text)) && (!kind || kindsOf(row[4]).includes(kind)));
      status.textContent = `${number(found.length)} of ${number(rows.length)} changes` +
        (left ? `; ${number(left)} more are not in this page` : "");
      list.replaceChildren();
      if (text) {
        fill(list, found, (row) => make("li", "", line(row, row[2] === null ? row[1] : `${row[1]} : ${row[2]}`)));
      } else {
        const top = [...tree(found, separator).below];
        fill(list, top, (entry) => branch(entry, separator, top.length < 4));
      }
    }
    let timer = 0;
    search.addEventListener("input", () => {
      clearTimeout(timer);
      timer = setTimeout(show, 120);
    });
    controls.addEventListener("change", show);
    place.replaceChildren(controls, status, list);
    show();
  }

  for (const id of Object.keys(data.lists)) explore(document.getElementById(id));
})();
