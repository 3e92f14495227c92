(() => {
  const rows = data.images;
  const details = new Map(data.details);
  const version = (row) => row.slice(2, 4).filter((each) => each !== null).join(".");

  function reference(row) {
    const name = make("bdi", "", row[0]);
    const link = make("a", "", name);
    link.href = `#image-${details.get(row[1])}`;
    const shown = details.has(row[1]) ? link : name;
    return row[11] ? [shown, make("div", "note", make("bdi", "", row[11]))] : [shown];
  }

  const counted = (title, index, text) => ({ title, index, isNumber: true, highestFirst: true, content: (row) => [text(row[index])] });
  const columns = [
    { title: "reference", index: 0, content: reference },
    { title: "Windows", index: 2, highestFirst: true, content: (row) => [version(row) || "–"] },
    counted("levels behind", 4, amount), counted("days", 5, amount), counted("size", 6, size), counted("own", 7, size),
    counted("layers", 8, amount), counted("findings", 9, amount),
    { title: "status", index: 10, content: (row) => [make("span", row[10], data.status[row[10]])] },
  ];

  const counts = new Map();
  for (const row of rows) if (row[2] !== null) counts.set(row[2], (counts.get(row[2]) || 0) + 1);
  const builds = [...counts].sort((a, b) => b[0] - a[0]).map(([build, count]) => [build, `${build} (${number(count)})`]);
  const atLevel = {
    newest: (row) => row[4] === 0,
    behind: (row) => row[4] > 0,
    unknown: (row) => row[4] === null,
  };
  const filters = [
    { label: "Build of Windows", name: "build", entries: builds, has: (row, value) => row[2] === Number(value) },
    { label: "Patch level", name: "level", entries: Object.keys(atLevel).map((level) => [level, level]), has: (row, value) => atLevel[value](row) },
    { label: "Status", name: "status", entries: Object.entries(data.status).filter(([state]) => rows.some((row) => row[10] === state)), has: (row, value) => row[10] === value },
  ];

  if (rows.length) {
    sortableList(document.querySelector(".listed"), {
      caption: "Images", rows, left: data.left, things: "references", columns, filters, first: 0,
      found: { label: "Reference, digest or version contains", text: (row) => `${row[0]} ${row[1]} ${version(row)}` },
      ties: (index) => [...(index === 2 ? [[3, true]] : []), [0, false]],
    });
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
