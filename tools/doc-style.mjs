// What must stand above the code: TSDoc of exports and contracts, ranges of lane functions, what a model leaves out.
import { docAbove, lineAt, visit } from './parsed-module.mjs';

/**
 * Where the exports of an `index.ts` are declared: name outside, name inside, module. Those of other packages are theirs.
 * @returns {{ name: string, local: string, from: string }[]}
 */
export function reexports({ program }) {
  return program.body.flatMap((node) => {
    if (node.type !== 'ExportNamedDeclaration' || node.source === null) return [];
    const from = node.source.value;
    if (!from.startsWith('.')) return [];
    return node.specifiers.map((s) => ({
      name: s.exported.name ?? s.exported.value,
      local: s.local.name ?? s.local.value,
      from,
    }));
  });
}

/**
 * Names that a module declares and exports in one statement.
 * @returns {string[]}
 */
export function ownExports({ program }) {
  return program.body.flatMap(({ type, declaration }) => {
    if (type !== 'ExportNamedDeclaration' || !declaration) return [];
    return declaration.declarations?.flatMap(({ id }) => bound(id)) ?? [declaration.id.name];
  });
}

/** The statement of a module that declares a name, or undefined. */
export function declarationOf({ program }, name) {
  return program.body.find((node) => declares(node.declaration ?? node, name));
}

function declares(node, name) {
  if (node === null) return false;
  if (node.id?.name === name) return true;
  return (node.declarations ?? []).some(({ id }) => bound(id).includes(name));
}

function bound(pattern) {
  if (pattern.type === 'Identifier') return [pattern.name];
  if (pattern.type === 'ObjectPattern') return pattern.properties.flatMap((p) => bound(p.value));
  return [];
}

/** Complaints about the declaration of an exported name: TSDoc with an example. */
export function exportComplaints(module, name) {
  const node = declarationOf(module, name);
  if (node === undefined) return [`${module.file}:1: declares no ${name}`];
  const doc = docAbove(module, node.start);
  const at = `${module.file}:${lineAt(module, node.start)}: ${name}`;
  if (doc === '') return [`${at} has no TSDoc`];
  return /@example\s+\S/.test(doc) ? [] : [`${at} has no @example`];
}

/** What a contract is: each member of an interface, or each function of a function type, is documented. */
export function contractComplaints(module, name) {
  const node = declarationOf(module, name);
  const found = node?.declaration ?? node;
  if (found === undefined) return [`${module.file}:1: declares no ${name}`];
  const complaints = [];
  if (docAbove(module, node.start) === '')
    complaints.push(`${module.file}:${lineAt(module, node.start)}: ${name} has no TSDoc`);
  for (const member of found.body?.body ?? [])
    if (docAbove(module, member.start) === '' && member.accessibility !== 'private')
      if (!(member.type.startsWith('Property') || member.kind === 'constructor'))
        complaints.push(
          `${module.file}:${lineAt(module, member.start)}: ${name}.${member.key?.name ?? '()'} has no TSDoc`,
        );
  return complaints;
}

/** A valid range, in the words in which one is given. */
const RANGE =
  /\b[Vv]alid\b|\b[Aa]ny\b|\b[Ee]very\b|\ball 64\b|\bmodulo 2\^|\b[Ee]xact\b|[<≤]=? ?2\^|\bbelow 2\^|\bat most\b|\bpower of two\b/;

/** Complaints about exported functions of lanes whose TSDoc names no valid range. */
export function rangeComplaints(module) {
  return module.program.body.flatMap((node) => {
    if (node.type !== 'ExportNamedDeclaration') return [];
    if (node.declaration?.type !== 'FunctionDeclaration') return [];
    const [meaning = ''] = docAbove(module, node.start).split('@example');
    if (RANGE.test(meaning)) return [];
    const { name } = node.declaration.id;
    return [`${module.file}:${lineAt(module, node.start)}: ${name} names no valid range`];
  });
}

/** A model file is headed by what it leaves out. */
export function modelComplaints({ file, comments, program }) {
  const head = comments.filter(({ end }) => end <= (program.body[0]?.start ?? Infinity));
  return head.some(({ value }) => /\bNot modelled:\s+\S/.test(value))
    ? []
    : [`${file}:1: is not headed by "Not modelled: ..."`];
}

/** Worked values: below `@example`, one expression and what it is, as in `alignUp(0x1001, 0x1000) // 0x2000`. */
export function workedValues(module) {
  return module.program.body.flatMap((node) => {
    if (node.type !== 'ExportNamedDeclaration') return [];
    const doc = docAbove(module, node.start);
    const found = /@example\s+([^\n]*?\S)\s*\/\/\s*([^\n]*?)\s*(?: as a number)?\s*$/m.exec(doc);
    return found === null ? [] : [{ code: found[1], value: found[2] }];
  });
}

/** Names of the classes of a module and of what each extends. */
export function classesOf({ program }) {
  const classes = [];
  visit(program, (node) => {
    if (node.type === 'ClassDeclaration' && node.id)
      classes.push({ name: node.id.name, base: node.superClass?.name ?? '', node });
  });
  return classes;
}
