// Style rules that the linter cannot say, as functions from a module's text to complaints.
import { functionComplaints } from './function-style.mjs';
import { lineAt, codeLines as linesOf, parseModule, visit } from './parsed-module.mjs';

export const MAX_CODE_LINES = 500;
/** Of all modules below src/. */
export const MEDIAN_CODE_LINES = 150;

const VAGUE_NAME = /^(?:utils?|commons?|misc|helpers?)$/;
// Spelled in halves, so that this file does not hold them.
const UNFINISHED = new RegExp(
  `\\b(?:${['TO' + 'DO', 'FIX' + 'ME', 'X' + 'XX', 'HA' + 'CK'].join('|')})\\b`,
);
/** A line of signs that draws a border; a table's rule begins with a bar. */
const DIVIDER = /^[\s*]*[-=~#_+─━═]{3,}|[-=~#─━═]{4,}\s*$/;

/** Lines of code: neither blank nor comment only. */
export function codeLines(file, text) {
  return linesOf(parseModule(file, text));
}

/** Complaints about one module of a package's src/; `file` is its path. */
export function moduleComplaints(file, text) {
  const module = parseModule(file, text);
  const complaints = [];
  const complain = (line, what) => complaints.push(`${file}:${line}: ${what}`);

  const base = file.slice(file.lastIndexOf('/') + 1);
  if (!/^[a-z0-9]+(?:-[a-z0-9]+)*(?:\.lanes|\.d)?\.ts$/.test(base))
    complain(1, 'name is not kebab-case');
  const words = file.slice(file.indexOf('src/') + 4).split(/[/.]/);
  const vague = words.find((word) => VAGUE_NAME.test(word));
  if (vague) complain(1, `"${vague}" says nothing`);

  const lines = linesOf(module);
  if (lines > MAX_CODE_LINES) complain(1, `${lines} lines of code, at most ${MAX_CODE_LINES}`);

  for (const [i, line] of text.split('\n').entries())
    if (UNFINISHED.test(line)) complain(i + 1, `unfinished: ${UNFINISHED.exec(line)?.[0]}`);

  for (const comment of module.comments)
    if (comment.value.split('\n').some((line) => DIVIDER.test(line)))
      complain(lineAt(module, comment.start), 'divider comment');

  visit(module.program, (node) => {
    const at = () => lineAt(module, node.start);
    if (node.type === 'ExportAllDeclaration') complain(at(), 'export *');
    if (node.type === 'ExportDefaultDeclaration' || node.type === 'TSExportAssignment')
      complain(at(), 'default export');
    if (
      node.type === 'ExportNamedDeclaration' &&
      node.specifiers.some((s) => (s.exported.name ?? s.exported.value) === 'default')
    )
      complain(at(), 'default export');
    if (node.type === 'TSEnumDeclaration') complain(at(), 'enum');
    // `declare module 'name'` gives a package its types and is no namespace.
    if (node.type === 'TSModuleDeclaration' && node.id.type !== 'Literal')
      complain(at(), 'namespace');
  });
  return [...complaints, ...functionComplaints(module)];
}

const MACHINE_PATH = /(?<![\w.~$}/-])\/(?:home|root|Users|work|mnt|var\/folders)\/[\w.-]+/;
const WINDOWS_PATH = /\b[A-Z]:\\(?:Users|home)\b/;
const REGISTRY_HOST =
  /\bhttps?:\/\/(?!127\.0\.0\.1\b)[\w.-]*(?:registry|npmjs|artifactory|nexus|verdaccio|mirror)[\w.-]*|\bregistry\.(?:npmjs|yarnpkg|npmmirror)\.\w+/i;

/** Complaints about traces of one machine in a text file: `here` is the checkout's own path. */
export function machineComplaints(file, text, here) {
  return text.split('\n').flatMap((line, i) => {
    const found =
      MACHINE_PATH.exec(line)?.[0] ??
      WINDOWS_PATH.exec(line)?.[0] ??
      REGISTRY_HOST.exec(line)?.[0] ??
      (here.length > 3 && line.includes(here) ? here : undefined);
    return found === undefined ? [] : [`${file}:${i + 1}: of one machine only: ${found}`];
  });
}
