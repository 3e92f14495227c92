(() => {
  const DAY = 86400000;
  const SOON = 90; // days before the end of a certificate at which it is told
  const at = data.at ? Date.parse(data.at) : Date.now();
  const day = new Date(at).toISOString().slice(0, 10);
  const plural = (count, thing) => `${number(count)} ${thing}${count === 1 ? "" : "s"}`;

  // Ages: the page knows times, and the reader's clock, or the time for which the page was made, tells the rest.
  const age = document.getElementById("age");
  if (age) {
    const days = Math.floor((at - Date.parse(age.dataset.since)) / DAY);
    const made = age.textContent;
    if (days >= 0) {
      age.closest("div").querySelector("dt").textContent = "Age";
      age.textContent = plural(days, "day");
      document.getElementById("age-note").textContent = `made ${made}; on ${day}`;
    }
  }

  function ending(expires) {
    const left = Date.parse(expires) - at;
    return left < 0 ? "expired" : left < SOON * DAY ? "expires soon" : "valid";
  }

  if (data.expiries.length) {
    const found = { expired: 0, own: 0, "expires soon": 0, valid: 0 };
    for (const [expires, isOwn] of data.expiries) {
      const state = ending(expires);
      found[state] += 1;
      if (isOwn && state === "expired") found.own += 1;
    }
    const told = document.getElementById("expired");
    told.textContent = `${number(found.expired)} expired (${number(found.own)} own), ` +
      `${number(found["expires soon"])} within ${SOON} days of ${day}`;
    if (found.own) told.closest("div").classList.add("bad");
  }

  // The lists.
  const ROWS = 100; // how many rows of a list are made at once: there are many lists
  const CHOICES = 100; // how many values a filter offers
  const CONTENT = {
    text: (value) => [make("bdi", "", value === null ? "–" : value)],
    number: (value) => [amount(value)],
    size: (value) => [size(value)],
    expiry(value) {
      if (value === null) return ["–"];
      const state = ending(value);
      return [value.slice(0, 10), " ", make("span", state === "expired" ? "expired" : "note", state)];
    },
  };

  function filter(title, kind, index, rows) {
    const valueOf = (row) => (row[index] !== null && kind === "expiry" ? ending(row[index]) : row[index]);
    const counts = new Map();
    for (const row of rows) {
      const value = valueOf(row);
      if (value !== null && value !== "") counts.set(value, (counts.get(value) || 0) + 1);
    }
    const entries = [...counts].sort((a, b) => b[1] - a[1]).slice(0, CHOICES)
      .map(([value, count]) => [value, `${value.slice(0, 60)} (${number(count)})`]);
    return { label: title, name: `by-${index}`, entries, has: (row, value) => valueOf(row) === value };
  }

  for (const { name, label, things, columns, rows, left } of data.tables) {
    sortableList(document.getElementById(`list-${name}`), {
      caption: label, rows, left, things, first: -1, step: ROWS,
      columns: columns.map(([title, kind], index) => ({
        title, index, isNumber: kind === "number" || kind === "size", highestFirst: kind === "number" || kind === "size",
        content: (row) => CONTENT[kind](row[index]),
      })),
      found: { label: "Contains", text: (row) => row.filter((value) => typeof value === "string").join("\n") },
      filters: columns.map(([title, kind, isFilter], index) => isFilter && filter(title, kind, index, rows)).filter(Boolean),
      ties: (index) => (index ? [[0, false]] : []),
    });
  }

  // The map of directories: rectangles whose areas are sizes. Whoever does not see it reads the table under it.
  const SMALLEST = 24; // pixels of a side from which a rectangle can be chosen
  const tree = data.tree;
  const below = tree.names.map(() => []);
  tree.parents.forEach((parent, node) => { if (parent !== null) below[parent].push(node); });
  const bytes = (node) => tree.own[node] + tree.base[node] + tree.hidden[node];
  for (const nodes of below) nodes.sort((a, b) => bytes(b) - bytes(a) || a - b);
  const nameOf = (node) => tree.names[node] || "whole image";
  function pathOf(node) {
    const path = [node];
    while (tree.parents[path[0]] !== null) path.unshift(tree.parents[path[0]]);
    return path;
  }

  // The parts of a directory: those in it, and what is in it and has no rectangle of its own (-1).
  function partsOf(node) {
    const parts = below[node].map((each) => ({ node: each, own: tree.own[each], base: tree.base[each], hidden: tree.hidden[each] }));
    const rest = { node: -1, own: tree.own[node], base: tree.base[node], hidden: tree.hidden[node] };
    for (const each of parts) for (const kind of ["own", "base", "hidden"]) rest[kind] -= each[kind];
    for (const each of [...parts, rest]) each.size = each.own + each.base + each.hidden;
    return [...parts, rest].filter((each) => each.size > 0).sort((a, b) => b.size - a.size);
  }

  // Squarified treemaps (Bruls, Huizing, van Wijk 2000): rows of rectangles that are as square as can be.
  function layOut(parts, x, y, width, height, place) {
    let total = parts.reduce((sum, part) => sum + part.size, 0);
    let start = 0;
    while (start < parts.length && width > 0 && height > 0) {
      const isWide = width >= height;
      const side = isWide ? height : width;
      const area = (width * height) / total;
      let sum = 0, end = start, worst = Infinity;
      while (end < parts.length) {
        const next = sum + parts[end].size;
        const thick = (next * area) / side;
        const ratio = Math.max(...[parts[start], parts[end]].map(({ size: each }) => {
          const long = (each * area) / thick;
          return Math.max(long / thick, thick / long);
        }));
        if (ratio > worst) break;
        [sum, worst, end] = [next, ratio, end + 1];
      }
      const thick = (sum * area) / side;
      let along = 0;
      for (const part of parts.slice(start, end)) {
        const long = (part.size / sum) * side;
        if (isWide) place(part, x, y + along, thick, long);
        else place(part, x + along, y, long, thick);
        along += long;
      }
      if (isWide) [x, width] = [x + thick, width - thick];
      else [y, height] = [y + thick, height - thick];
      total -= sum;
      start = end;
    }
  }

  // Percentages: the map keeps its form on paper.
  function put(element, x, y, width, height, whole) {
    element.style.left = `${(100 * x) / whole.width}%`;
    element.style.top = `${(100 * y) / whole.height}%`;
    element.style.width = `${(100 * width) / whole.width}%`;
    element.style.height = `${(100 * height) / whole.height}%`;
  }

  function colour(element, part) {
    const ends = [part.own, part.own + part.base].map((end) => `${((100 * end) / part.size).toFixed(2)}%`);
    element.style.background =
      `linear-gradient(to right, var(--own) ${ends[0]}, var(--base) ${ends[0]} ${ends[1]}, var(--hidden) ${ends[1]})`;
  }

  const holder = document.getElementById("map");
  const tiled = make("div", "tiled");
  const trail = make("div", "trail");
  const told = make("p", "note");
  told.setAttribute("role", "status");
  const table = make("div", "");
  let current = tree.start;
  let whole = { width: 0, height: 0 }; // the map, in pixels

  function draw() {
    tiled.replaceChildren();
    layOut(partsOf(current), 0, 0, whole.width, whole.height, (part, x, y, width, height) => {
      const canOpen = part.node >= 0 && below[part.node].length > 0;
      const isLarge = width >= SMALLEST && height >= SMALLEST;
      const element = make(canOpen && isLarge ? "button" : "div", "");
      const name = part.node < 0 ? "(files here, and small directories)" : nameOf(part.node);
      element.title = `${name}: ${size(part.size)}`;
      put(element, x, y, width, height, whole);
      if (!isLarge) {
        colour(element, part);
        tiled.append(element);
        return;
      }
      const inner = make("span", "inner");
      inner.setAttribute("aria-hidden", "true");
      colour(inner, part);
      if (part.node >= 0 && width > 60 && height > 60) {
        const room = { width, height };
        layOut(partsOf(part.node), 0, 0, width, height, (each, left, top, wide, high) => {
          if (wide < 3 || high < 3) return;
          const cell = make("i", "");
          put(cell, left, top, wide, high, room);
          colour(cell, each);
          inner.append(cell);
        });
      }
      element.append(inner, make("span", "name", make("bdi", "", name), ` ${size(part.size)}`));
      if (canOpen) {
        element.type = "button";
        element.addEventListener("click", () => open(part.node, true));
      }
      tiled.append(element);
    });
  }

  function line(part) {
    const canOpen = part.node >= 0 && below[part.node].length > 0;
    const name = part.node < 0 ? "(files here, and small directories)" : nameOf(part.node);
    const head = cell("th", "rowheader", "");
    head.scope = "row";
    if (canOpen) {
      const button = make("button", "", make("bdi", "", name));
      button.type = "button";
      button.addEventListener("click", () => open(part.node, true));
      head.append(button);
    } else {
      head.append(make("bdi", "", name));
    }
    const share = (100 * part.size) / bytes(current);
    const texts = [["size", size(part.size)], ["share", `${share.toFixed(1)} %`], ["own", size(part.own)], ["base", size(part.base)],
      ["not visible", size(part.hidden)], ["files", part.node < 0 ? "–" : number(tree.files[part.node])]];
    return cell("tr", "row", "", head, ...texts.map(([title, text]) => {
      const made = cell("td", "cell", "number", text);
      made.dataset.name = title;
      return made;
    }));
  }

  function tell() {
    const columns = ["directory", "size", "share", "own", "base", "not visible", "files"];
    const heads = columns.map((title, index) => {
      const head = cell("th", "columnheader", index ? "number" : "", title);
      head.scope = "col";
      return head;
    });
    const body = cell("tbody", "rowgroup", "");
    fill(body, partsOf(current), line, (button) => {
      const last = cell("td", "cell", "", button);
      last.colSpan = columns.length;
      return cell("tr", "row", "", last);
    });
    const name = pathOf(current).slice(1).map(nameOf).join("/") || nameOf(current);
    const caption = make("caption", "", "What is in ", make("bdi", "", name));
    table.replaceChildren(cell("table", "table", "wide", caption, cell("thead", "rowgroup", "", cell("tr", "row", "", ...heads)), body));
    told.replaceChildren(make("bdi", "", name), `: ${size(bytes(current))}, ${plural(tree.files[current], "visible file")}`);
  }

  // Shows a directory. The focus follows, so that the way back is beside it.
  function open(node, isChosen) {
    current = node;
    const path = pathOf(node);
    trail.replaceChildren(...path.flatMap((each, depth) => {
      if (each === node) {
        const here = make("span", "", make("bdi", "", nameOf(each)));
        here.setAttribute("aria-current", "location");
        here.tabIndex = -1;
        return [here];
      }
      const button = make("button", "", make("bdi", "", nameOf(each)));
      button.type = "button";
      button.addEventListener("click", () => open(each, true));
      return [button, "›"];
    }));
    draw();
    tell();
    if (isChosen) trail.lastElementChild.focus();
  }

  tiled.setAttribute("role", "group");
  tiled.setAttribute("aria-label", "Map of directories; the table after it has the same");
  trail.setAttribute("role", "group");
  trail.setAttribute("aria-label", "Where the map is");
  holder.replaceChildren(trail, told, tiled, table);
  open(current, false);
  // The browser tells the size when it has laid out the page, which need not be done for the map alone.
  new ResizeObserver(([{ contentRect: { width, height } }]) => {
    whole = { width, height };
    draw();
  }).observe(tiled);

  addEventListener("beforeprint", () => document.querySelectorAll("section > details").forEach((each) => { each.open = true; }));
})();
