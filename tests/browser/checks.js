// What is wrong with the page that is shown: each check gives a list of complaints.
const checks = (() => {
  const LEAST_CONTRAST = 4.5; // WCAG 2.2, 1.4.3
  const LEAST_HTML_TEXT = 11; // CSS pixels
  const LEAST_SVG_TEXT = 9; // CSS pixels, after the picture is scaled
  const LONGEST_WORD = 20; // characters; a path or a hash may be torn
  const SLACK = 1; // CSS pixels that boxes may touch

  const root = document.documentElement;
  const style = (element) => getComputedStyle(element);
  const brief = (text) => text.replace(/\s+/g, " ").trim().slice(0, 40);
  const named = (element) => {
    const own = element.id ? "#" + element.id : [...element.classList].map((c) => "." + c).join("");
    const figure = element.closest("[id]");
    const place = figure && figure !== element ? `#${figure.id} ` : "";
    return `${place}<${element.localName}${own}> "${brief(element.textContent)}"`;
  };
  const drawn = (element) => element.getClientRects().length > 0
    && element.checkVisibility({ visibilityProperty: true });
  const all = (selector) => [...document.querySelectorAll(selector)].filter(drawn);
  const px = (length) => length.toFixed(1);

  /** Every piece of text that is drawn: its element, and the box of its glyphs. */
  const texts = () => {
    const found = [];
    const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    for (let node = walk.nextNode(); node; node = walk.nextNode()) {
      if (!node.data.trim() || !drawn(node.parentElement)) continue;
      const range = document.createRange();
      range.selectNodeContents(node);
      if (range.getClientRects().length === 0) continue;
      const svg = node.parentElement.closest("svg");
      found.push({ node, element: node.parentElement, box: range.getBoundingClientRect(), svg });
    }
    return found;
  };

  /** Whether a part of the page that scrolls sideways holds the element. */
  const scrolls = (element) => {
    for (let at = element.parentElement; at && at !== document.body; at = at.parentElement) {
      if (["auto", "scroll"].includes(style(at).overflowX)) return true;
    }
    return false;
  };

  /** Any colour of CSS as red, green, blue from 0 to 255 and its opacity from 0 to 1. */
  const colours = new Map();
  const brush = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgba = (colour) => {
    if (!colours.has(colour)) {
      brush.clearRect(0, 0, 1, 1);
      brush.fillStyle = colour;
      brush.fillRect(0, 0, 1, 1);
      const [r, g, b, a] = brush.getImageData(0, 0, 1, 1).data;
      colours.set(colour, [r, g, b, a / 255]);
    }
    return colours.get(colour);
  };
  const over = ([r, g, b, a], below) =>
    [r, g, b].map((part, i) => part * a + below[i] * (1 - a)).concat(1);

  /** What is behind an element's text: the first opaque background, with the clear ones on it. */
  const behind = (element) => {
    const layers = [];
    let opaque = null;
    for (let at = element; at && !opaque; at = at.parentElement) {
      if (at.namespaceURI !== "http://www.w3.org/1999/xhtml" && at.localName !== "svg") continue;
      if (style(at).backgroundImage !== "none") return null;
      const colour = rgba(style(at).backgroundColor);
      if (colour[3] === 1) opaque = colour;
      else layers.push(colour);
    }
    return opaque && layers.reverse().reduce((below, layer) => over(layer, below), opaque);
  };

  const luminance = ([r, g, b]) => {
    const linear = (part) =>
      part / 255 <= 0.04045 ? part / 255 / 12.92 : ((part / 255 + 0.055) / 1.055) ** 2.4;
    return 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  };
  const ratio = (a, b) => {
    const [low, high] = [luminance(a), luminance(b)].sort((x, y) => x - y);
    return (high + 0.05) / (low + 0.05);
  };
  const opacity = (element) => {
    let product = 1;
    for (let at = element; at; at = at.parentElement) product *= Number(style(at).opacity);
    return product;
  };

  const overlap = (a, b) => Math.min(a.right, b.right) - Math.max(a.left, b.left) > SLACK
    && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > SLACK;
  const inside = (a, b) => a.left >= b.left - SLACK && a.right <= b.right + SLACK
    && a.top >= b.top - SLACK && a.bottom <= b.bottom + SLACK;
  const scale = (element) => {
    const { a, b } = element.getScreenCTM();
    return Math.hypot(a, b);
  };

  return {
    /** The text that a reader sees. */
    text: () => document.body.innerText,

    /** The headings that a reader sees, in their order. */
    headings: () => all("h1, h2, h3").map((heading) => heading.innerText),

    figures: () => all("figure").length,

    /** Figures without words for a screen reader, or that are no sensible picture. */
    pictures: () => all("figure, svg[role=img]").flatMap((part) => {
      const svg = part.localName === "svg" ? part : part.querySelector("svg");
      if (!svg || !drawn(svg)) return [`${named(part)}: no picture`];
      const found = [];
      for (const tag of ["title", "desc"]) {
        const words = svg.querySelector(`:scope > ${tag}`);
        if (!words || !words.textContent.trim()) found.push(`${named(part)}: no <${tag}>`);
      }
      const box = svg.getBoundingClientRect();
      if (box.width < 240 || box.height < 60 || box.height > 2 * box.width) {
        found.push(`${named(part)}: ${px(box.width)} by ${px(box.height)} px`);
      }
      if (box.left < 0 || box.right > root.clientWidth) found.push(`${named(part)}: off the page`);
      return found;
    }),

    /** Elements that the report has no use for, so that data must have made them. */
    foreign: () => {
      const tags = "script, img, iframe, frame, object, embed, video, audio, form, input, button, base, "
        + "svg image, svg use, svg foreignObject, svg a, marquee, a:not([href^='#']), "
        + "link:not([href^='data:']), html :not(:defined)";
      const found = [...document.querySelectorAll(tags)].map((e) => `${named(e)}: foreign`);
      for (const element of document.querySelectorAll("*")) {
        for (const { name } of element.attributes) {
          if (name.startsWith("on")) found.push(`${named(element)}: attribute ${name}`);
        }
      }
      return found;
    },

    /** What is wider than the window, or out of it or out of its box with no way to get there. */
    overflow: () => {
      const width = root.clientWidth, found = [];
      if (root.scrollWidth > width) found.push(`the page scrolls: ${root.scrollWidth} > ${width}`);
      for (const element of all("body *")) {
        const box = element.getBoundingClientRect();
        const out = box.right > width + 0.5 || box.left < -0.5;
        if (out && !scrolls(element)) found.push(`${named(element)}: ${px(box.left)} to ${px(box.right)}`);
        const hides = ["hidden", "clip"].includes(style(element).overflowX);
        if (hides && !element.closest("svg") && element.scrollWidth > element.clientWidth + SLACK) {
          found.push(`${named(element)}: cuts its content off`);
        }
      }
      for (const { element, box, svg } of texts()) {
        if (svg) continue;
        let holder = element;
        while (style(holder).display.startsWith("inline")) holder = holder.parentElement;
        const room = holder.getBoundingClientRect();
        const own = ["auto", "scroll"].includes(style(holder).overflowX);
        if (!own && (box.left < room.left - SLACK || box.right > room.right + SLACK)) {
          found.push(`${named(element)}: text ${px(box.left)} to ${px(box.right)} is out of its `
            + `${holder.localName}, ${px(room.left)} to ${px(room.right)}`);
        }
      }
      return found;
    },

    /** Of these elements, those whose text must be scrolled sideways. */
    unwrapped: (selector) => all(selector).filter((e) => e.scrollWidth > e.clientWidth)
      .map((e) => `${named(e)}: ${e.scrollWidth} > ${e.clientWidth}`),

    /** Short words that go on in the next line, where no hyphen or script allows it. */
    torn: () => texts().filter(({ svg }) => !svg).flatMap(({ element, node }) => {
      const found = [];
      for (const run of node.data.matchAll(/\S+/g)) {
        if (run[0].length > LONGEST_WORD || /[\p{sc=Han}\p{sc=Hira}\p{sc=Kana}]/u.test(run[0])) continue;
        for (const word of run[0].matchAll(/[\p{L}\p{N}.]+/gu)) {
          const range = document.createRange(), start = run.index + word.index;
          range.setStart(node, start);
          range.setEnd(node, start + word[0].length);
          const lines = new Set([...range.getClientRects()].map((box) => Math.round(box.top)));
          if (lines.size > 1) found.push(`${named(element)}: "${word[0]}" is torn`);
        }
      }
      return found;
    }),

    /** Text that does not stand out from what is behind it. */
    contrast: () => texts().flatMap(({ element, svg }) => {
      const ground = behind(element);
      if (!ground) return [`${named(element)}: what is behind it is no plain colour`];
      const of = style(element);
      let colour = rgba(svg ? of.fill : of.color);
      const share = opacity(element) * (svg ? Number(of.fillOpacity) : 1);
      colour = over([...colour.slice(0, 3), colour[3] * share], ground);
      const contrast = ratio(colour, ground);
      return contrast >= LEAST_CONTRAST ? [] : [`${named(element)}: contrast ${contrast.toFixed(2)}`];
    }),

    /** Text of a picture that lies on other text, on a mark, or out of the picture. */
    plots: () => all("svg").flatMap((svg) => {
      const boxes = [...svg.querySelectorAll("text")].filter(drawn)
        .map((element) => ({ element, box: element.getBoundingClientRect() }));
      const marks = [...svg.querySelectorAll("rect, circle")].filter(drawn)
        .map((element) => ({ element, box: element.getBoundingClientRect() }));
      const frame = svg.getBoundingClientRect();
      return boxes.flatMap(({ element, box }, i) => {
        const found = inside(box, frame) ? [] : [`${named(element)}: out of its picture`];
        const under = boxes.slice(0, i).concat(marks).filter((other) => overlap(box, other.box));
        return found.concat(under.map((other) => `${named(element)} lies on ${named(other.element)}`));
      });
    }),

    /** Text that is too small to read. */
    small: () => texts().flatMap(({ element, svg }) => {
      const size = parseFloat(style(element).fontSize) * (svg ? scale(element) : 1);
      return size >= (svg ? LEAST_SVG_TEXT : LEAST_HTML_TEXT) ? [] : [`${named(element)}: ${px(size)} px`];
    }),
  };
})();
