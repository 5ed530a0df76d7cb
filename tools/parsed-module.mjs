// A TypeScript module taken apart: its tree, its comments, and what stands where.
import { parseSync } from 'oxc-parser';

/** What the rules look at. `lineAt` counts from 1; `file` is only named in complaints. */
export function parseModule(file, text) {
  const { program, comments } = parseSync(file, text);
  const starts = [0];
  for (let at = text.indexOf('\n'); at >= 0; at = text.indexOf('\n', at + 1)) starts.push(at + 1);
  return { file, text, program, comments, starts };
}

/** The line of an offset, from 1. */
export function lineAt({ starts }, offset) {
  let low = 0;
  let high = starts.length;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (starts[middle] <= offset) low = middle;
    else high = middle;
  }
  return low + 1;
}

/** Calls back with every node of a tree and its ancestors, the nearest last. */
export function visit(node, enter, above = []) {
  enter(node, above);
  above.push(node);
  for (const value of Object.values(node)) {
    if (Array.isArray(value)) {
      for (const item of value) if (item?.type) visit(item, enter, above);
    } else if (value?.type) visit(value, enter, above);
  }
  above.pop();
}

/** Lines of code between two offsets: neither blank nor comment only. */
export function codeLines({ text, comments }, start = 0, end = text.length) {
  let code = '';
  let at = start;
  for (const comment of comments) {
    if (comment.start < at || comment.start >= end) continue;
    code += text.slice(at, comment.start);
    code += text.slice(comment.start, Math.min(comment.end, end)).replace(/[^\n]/g, ' ');
    at = Math.min(comment.end, end);
  }
  code += text.slice(at, end);
  return code.split('\n').filter((line) => line.trim() !== '').length;
}

/** The comments that end right above an offset, nearest last: only blanks, at most one line end each, between them and it. */
export function commentsAbove({ text, comments }, offset) {
  const found = [];
  let at = offset;
  for (let i = comments.length - 1; i >= 0; i--) {
    const comment = comments[i];
    if (comment.end > at) continue;
    if (!/^[^\S\n]*\n?[^\S\n]*$/.test(text.slice(comment.end, at))) break;
    found.unshift(comment);
    at = comment.start;
  }
  return found;
}

/** The text of the TSDoc comment right above an offset, '' for none. */
export function docAbove(module, offset) {
  const doc = commentsAbove(module, offset).at(-1);
  return doc?.type === 'Block' && doc.value.startsWith('*') ? doc.value : '';
}
