"""Whether text can be read: a question to a page in a browser."""

# Contrast of every text with the ground behind it, as WCAG 2 defines it; those below 4.5, or 3 where the text is large.
POOR_CONTRAST = """() => {
  const channel = (c) => (c /= 255) <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4;
  const numbers = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => .2126 * channel(r) + .7152 * channel(g) + .0722 * channel(b);
  const ground = (tag) => {
    for (let at = tag; at; at = at.parentElement) {
      const found = numbers(getComputedStyle(at).backgroundColor);
      if (found.length < 4 || found[3] > 0) return found;
    }
    return [255, 255, 255];
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const poor = [], seen = [];
  while (walker.nextNode()) {
    const tag = walker.currentNode.parentElement, box = tag.getBoundingClientRect();
    if (!walker.currentNode.data.trim() || box.width < 2) continue;
    const style = getComputedStyle(tag), size = parseFloat(style.fontSize);
    const pair = [light(numbers(style.color)), light(ground(tag))].sort((a, b) => b - a);
    const ratio = (pair[0] + .05) / (pair[1] + .05);
    seen.push(ratio);
    if (ratio < (size >= 24 ? 3 : 4.5)) poor.push(`${walker.currentNode.data.trim()}: ${ratio.toFixed(2)}`);
  }
  return { poor, texts: seen.length };
}"""
