
"use strict";
// The rows of the tables, from the same data and as the page came with them: `_html_rows.py` made those.
const rows = (() => {
  const SVG = "http://www.w3.org/2000/svg";
  const SPACE = /[\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+/;
  const FOLDS = /[^/_.,:[-]*[/_.,:[-]+|[^/_.,:[-]+/gu;
  const HUMPS = /([a-z0-9])(?=[A-Z])/g;
  const report = JSON.parse(document.getElementById("report").textContent);

  // -- numbers and names, as people read them ----------------------------------------------------

  const three = (value) => value.toFixed(value < 9.995 ? 2 : value < 99.95 ? 1 : 0);
  const two = (value) => String(value).padStart(2, "0");
  const grouped = new Intl.NumberFormat("en-US"); // made once: toLocaleString makes one each time
  const count = (value) => grouped.format(value);

  function seconds(value) {
    for (const [unit, size] of [["ns", 1e-9], ["µs", 1e-6], ["ms", 1e-3]]) {
      if (value < 0.9995 * size * 1000) return value >= 0.5e-9 ? three(value / size) + unit : "0s";
    }
    if (value < 60 * 0.9995) return three(value) + "s";
    const whole = Math.round(value);
    if (whole < 3600) return `${Math.floor(whole / 60)}m${two(whole % 60)}s`;
    if (whole < 86400) return `${Math.floor(whole / 3600)}h${two(Math.floor((whole % 3600) / 60))}m`;
    return `${Math.floor(whole / 86400)}d${two(Math.floor((whole % 86400) / 3600))}h`;
  }

  function size(value) {
    if (value < 1024) return `${value} B`;
    for (const unit of ["KiB", "MiB", "GiB", "TiB"]) {
      value /= 1024;
      if (value < 1024 * 0.9995) return `${three(value)} ${unit}`;
    }
    return `${(value / 1024).toLocaleString("en-US", { minimumFractionDigits: 1, maximumFractionDigits: 1 })} PiB`;
  }

  /** One line, with what cannot be seen, or turns others around, spelled out. */
  function visible(text) {
    return text.split(SPACE).filter(Boolean).join(" ").replace(/\p{C}/gu, (char) => {
      const code = char.codePointAt(0);
      if (code < 0x100) return "\\x" + code.toString(16).padStart(2, "0");
      if (code < 0x10000) return "\\u" + code.toString(16).padStart(4, "0");
      return "\\U" + code.toString(16).padStart(8, "0");
    });
  }

  // -- rows --------------------------------------------------------------------------------------

  function element(tag, attributes, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.append(...children);
    return made;
  }

  function drawn(tag, attributes, ...children) {
    const made = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.append(...children);
    return made;
  }

  /** A row's own texts, which the filter looks into. */
  const texts = (row) =>
    [row.name, row.where, row.host, row.error_type, row.error]
      .filter((text) => text)
      .map((text) => visible(text).toLowerCase());

  function treesOf(key, isTree) {
    if (!isTree) return report[key].map((row) => ({ row, texts: texts(row), under: [] }));
    return report[key].map((one) => {
      const rows = [...one.events, ...one.hosts.map((host) => ({ ...host, name: host.host }))];
      const events = one.events.length ? one.events : one.hosts;
      const sum = (name) => events.reduce((sofar, row) => sofar + (row[name] || 0), 0);
      const row = {
        name: one.name, count: sum("count"), failed: sum("failed"), retries: sum("retries"),
        max: Math.max(0, ...events.map((it) => it.max)), total: sum("total"),
      };
      return { row, texts: texts(row), under: rows.map((it) => ({ row: it, texts: texts(it) })) };
    });
  }

  class Scale {
    constructor(trees) {
      this.most = this.longest = 0;
      this.least = Infinity;
      for (const tree of trees) {
        for (const { row } of [tree, ...tree.under]) {
          this.most = Math.max(this.most, row.total ?? row.seconds ?? 0);
          if (row.min > 0) {
            this.least = Math.min(this.least, row.min);
            this.longest = Math.max(this.longest, row.max);
          }
        }
      }
    }

    share(value) {
      const percent = this.most ? (100 * value) / this.most : 0;
      return (percent >= 0.5 ? percent : 0).toFixed(1) + "%";
    }

    place(value) {
      if (!(this.least < this.longest)) return "0.0%";
      const part = Math.log(Math.max(value, this.least) / this.least);
      return ((100 * part) / Math.log(this.longest / this.least)).toFixed(1) + "%";
    }
  }

  function spread(row, scale) {
    if (row.min === undefined) return [];
    const [low, mid, high, end] = [row.min, row.p50, row.p95, row.max].map((it) => scale.place(it));
    return [drawn(
      "svg", { class: "spread", role: "img", width: "100%", height: "12" },
      drawn("title", {}, `${seconds(row.min)} to ${seconds(row.max)}`),
      drawn("line", { x1: low, x2: end, y1: "6", y2: "6" }),
      drawn("line", { class: "most", x1: mid, x2: high, y1: "6", y2: "6" }),
      drawn("circle", { cx: end, cy: "6", r: "2" }),
    )];
  }

  function bar(value, scale) {
    return drawn(
      "svg", { class: "bar", "aria-hidden": "true", width: "100%", height: "3" },
      drawn("rect", { width: scale.share(value), height: "3" }),
    );
  }

  /** A text that may be broken where people would. */
  function foldable(text) {
    const parts = (text.match(FOLDS) ?? []).flatMap((part) => part.replace(HUMPS, "$1\n").split("\n"));
    return parts.flatMap((part, at) => at ? [element("wbr", {}), part] : [part]);
  }

  function place(text) {
    const shown = visible(text);
    const at = shown.indexOf("::");
    if (at < 0) return foldable(shown);
    const file = element("span", { class: "file" }, ...foldable(shown.slice(0, at)), "::");
    return [file, element("wbr", {}), ...foldable(shown.slice(at + 2))];
  }

  function error(row) {
    const kind = element("b", {}, visible(row.error_type || "failed"));
    return row.error ? [kind, " " + visible(row.error)] : [kind];
  }

  function mark(key, value) {
    if (!value) return " zero";
    if (key === "failed") return " bad";
    const isSlow = ["p50", "p95", "max", "seconds"].includes(key) && value > report.slow_seconds;
    return isSlow ? " slow" : "";
  }

  function number(kind, value, scale) {
    if (kind === "count") return [count(value)];
    if (kind === "size") return [size(value)];
    if (kind === "seconds") return [seconds(value)];
    return [seconds(value), bar(value, scale)];
  }

  function cell({ key, kind }, row, scale) {
    const value = row[key];
    if (kind === "text") return element("td", { class: kind }, ...foldable(visible(value || "")));
    if (kind === "where") return element("td", { class: kind }, ...place(value));
    if (kind === "error") return element("td", { class: kind }, ...error(row));
    if (kind === "range") return element("td", { class: kind }, ...spread(row, scale));
    if (value === undefined || value === null) return element("td", { class: kind });
    return element("td", { class: kind + mark(key, value) }, ...number(kind, value, scale));
  }

  function head({ key, kind }, row, level) {
    if (level === "under") kind = "host" in row ? "network" : "name";
    const shown = kind === "where" ? place(row[key]) : foldable(visible(row[key]));
    return element("th", { scope: level === "group" ? "rowgroup" : "row", class: kind }, ...shown);
  }

  /** A row; `level` is "group" for one that has others under it, "under" for those. */
  function made(columns, row, level, scale) {
    const [first, ...others] = columns;
    const cells = others.map((column) => cell(column, row, scale));
    return element("tr", level ? { class: level } : {}, head(first, row, level), ...cells);
  }

  return { Scale, count, element, error, made, treesOf, visible };
})();
