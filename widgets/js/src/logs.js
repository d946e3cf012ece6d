// What tasks and actors print, the newest line last.
import { Choice, field, toggle } from "./shell/controls.js";
import { html, say, set } from "./shell/dom.js";
import { Head } from "./shell/head.js";
import { View, widget } from "./shell/view.js";
import { counted } from "./shell/words.js";

const NEAR = 24; // pixels from the end that count as the end

class Logs extends View {
  build() {
    this.lines = new Map();
    this.words = "";
    this.name = this.stream = "";
    this.following = true;
    this.names = new Choice("lines of", "all names", (name) => this.only({ name }));
    this.streams = new Choice("stream", "both streams", (stream) => this.only({ stream }));
    this.streams.offer([["out", "stdout"], ["err", "stderr"]]);
    this.find = field("find", (words) => this.only({ words: words.toLowerCase() }));
    this.follow = toggle("follow", true, (on) => {
      this.following = on;
      this.end();
    });
    set(this.follow, "title", "stay at the newest line");
    this.head = new Head("Logs", this.names.node, this.streams.node, this.find, this.follow);
    this.empty = html("p", { class: "nbray-empty" });
    this.list = html("div", { class: "nbray-scroll nbray-lines", tabindex: "0", role: "log", "aria-live": "off", "aria-label": "printed lines" });
    this.list.addEventListener("scroll", () => this.scrolled());
    this.root.append(this.head.node, this.empty, this.list);
  }

  only(choice) {
    Object.assign(this, choice);
    for (const line of this.lines.values()) line.node.hidden = !this.matches(line.entry);
    this.tellEmpty();
    this.end();
  }

  matches({ name, stream, text, pid }) {
    return (
      (!this.name || name === this.name) &&
      (!this.stream || stream === this.stream) &&
      (!this.words || text.toLowerCase().includes(this.words) || name.toLowerCase().includes(this.words) || String(pid) === this.words)
    );
  }

  scrolled() {
    if (this.drawing) return;
    const { scrollTop, scrollHeight, clientHeight } = this.list;
    const following = scrollHeight - scrollTop - clientHeight < NEAR;
    if (following === this.following) return;
    this.following = following;
    set(this.follow, "aria-pressed", following);
  }

  end() {
    if (this.following) this.list.scrollTop = this.list.scrollHeight;
  }

  draw({ lines = {}, names = {}, about }) {
    // What is taken away above must not move what is being read.
    const anchor = this.following ? null : this.reading();
    for (const [key, line] of this.lines) {
      if (Object.hasOwn(lines, key)) continue;
      line.node.remove();
      this.lines.delete(key);
    }
    const fresh = document.createDocumentFragment();
    for (const [key, entry] of Object.entries(lines)) {
      if (this.lines.has(key)) continue;
      const node = draw(entry);
      node.hidden = !this.matches(entry);
      this.lines.set(key, { node, entry });
      fresh.append(node);
    }
    const any = fresh.hasChildNodes();
    this.list.append(fresh);
    if (anchor?.node.isConnected) this.list.scrollTop += anchor.node.getBoundingClientRect().top - anchor.top;
    else if (any || this.width !== this.list.clientWidth) this.end();
    this.width = this.list.clientWidth;
    const hidden = about.hidden ?? 0;
    this.head.draw({ about }, [
      ["wanted", about.wanted ? `of ${about.wanted}` : ""],
      ["count", about.count ? counted(about.count, "line") : ""],
    ], hidden ? `the last ${this.lines.size.toLocaleString("en")} are here` : "");
    const sorted = Object.entries(names).sort(([a], [b]) => a.localeCompare(b));
    this.names.offer(sorted.map(([name, count]) => [name, `${name} (${count.toLocaleString("en")})`]));
    this.names.node.hidden = sorted.length < 2 && !this.name;
    this.wanted = about.wanted;
    this.tellEmpty();
  }

  reading() {
    const top = this.list.getBoundingClientRect().top;
    for (const { node } of this.lines.values()) {
      if (node.hidden) continue;
      const box = node.getBoundingClientRect();
      if (box.bottom > top) return { node, top: box.top };
    }
    return null;
  }

  tellEmpty() {
    const some = this.lines.size > 0;
    const shown = some && [...this.lines.values()].some(({ node }) => !node.hidden);
    this.list.hidden = !shown;
    this.empty.hidden = shown;
    const who = this.wanted ? ` by ${this.wanted}` : "";
    say(this.empty, some ? "No such line among these." : `Nothing printed yet${who}. What tasks and actors print appears here.`);
  }
}

function draw({ time, name, stream, pid, node, text }) {
  const at = new Date(time * 1000);
  const row = html(
    "div",
    { class: `nbray-line-of nbray-${stream}`, title: `${at.toLocaleString()}, ${stream === "err" ? "stderr" : "stdout"}, node ${node}` },
    html("span", { class: "nbray-when" }, at.toLocaleTimeString("en-GB")),
    html("span", { class: "nbray-who" }, name, html("small", {}, ` ${pid}`)),
    html("span", { class: "nbray-text" }, text),
  );
  // Processes are told apart by the hue of their names.
  row.style.setProperty("--nb-hue", String((pid * 47) % 360));
  return row;
}

export default widget((store, el) => new Logs(store, el, "logs", "nbray logs"));
