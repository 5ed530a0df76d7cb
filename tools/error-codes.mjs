// The codes of a package's errors: those that its code names, and those that its README lists.
import { classesOf, declarationOf } from './doc-style.mjs';
import { lineAt, visit } from './parsed-module.mjs';

const CODE = /^[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*$/;
const BASE = 'IommuError';

/** Names of the error classes of a workspace: those that extend `IommuError`, directly or not. */
export function errorClasses(modules) {
  const names = new Set([BASE]);
  const classes = modules.flatMap(classesOf);
  for (let before = 0; before !== names.size; ) {
    before = names.size;
    for (const { name, base } of classes) if (names.has(base)) names.add(name);
  }
  return names;
}

/**
 * Codes in a module: the first argument of `new SomeError('CODE', ...)`, or of `super('CODE', ...)` in an error class, both branches of a
 * condition included; the literals that the first parameter of an error's constructor may be; and, where errors are made from rows, the
 * `code` of each row.
 */
export function codesOf(module, errors) {
  const codes = new Map();
  const take = (node) => {
    if (node?.type === 'ConditionalExpression') {
      take(node.consequent);
      take(node.alternate);
    } else if (isCode(node)) codes.set(node.value, lineAt(module, node.start));
  };
  const rows = [];
  let fromRows = false;
  visit(module.program, (node, above) => {
    if (node.type === 'NewExpression' && errors.has(node.callee.name)) {
      const [first] = node.arguments;
      take(first);
      fromRows ||= (first?.property?.name ?? first?.name) === 'code';
    }
    if (node.type === 'Property' && node.key.name === 'code') rows.push(node.value);
    if (node.type === 'CallExpression' && node.callee.type === 'Super') {
      const owner = above.findLast(({ type }) => type === 'ClassDeclaration');
      if (errors.has(owner?.superClass?.name)) take(node.arguments[0]);
    }
  });
  if (fromRows) for (const row of rows) take(row);
  for (const { base, node } of classesOf(module)) {
    if (!errors.has(base)) continue;
    const given = constructorOf(node)?.params[0]?.typeAnnotation?.typeAnnotation;
    const alias = declarationOf(module, given?.typeName?.name ?? '');
    const type = (alias?.declaration ?? alias)?.typeAnnotation ?? given;
    for (const one of type?.types ?? [type]) take(one?.literal);
  }
  return codes;
}

/** Error classes that give `super` no code: neither a literal nor something that was passed to them. */
export function uncodedErrors(module, errors) {
  return classesOf(module).flatMap(({ name, base, node }) => {
    if (!errors.has(base)) return [];
    const made = constructorOf(node);
    let coded = made === undefined;
    visit(node, (inner) => {
      if (inner.type !== 'CallExpression' || inner.callee.type !== 'Super') return;
      const [first] = inner.arguments;
      coded ||= first !== undefined && (isCode(first) || first.type !== 'Literal');
    });
    return coded ? [] : [`${module.file}:${lineAt(module, node.start)}: ${name} has no code`];
  });
}

/**
 * The codes of the table below the heading `## Errors` of a README: the first cell of each row.
 * @returns {string[]}
 */
export function listedCodes(markdown) {
  const [, section = ''] = markdown.split(/^## Errors.*$/m);
  return (section.split(/^## /m)[0] ?? '')
    .split('\n')
    .filter((line) => line.startsWith('|'))
    .flatMap((line) => [...(line.split('|')[1] ?? '').matchAll(/`([A-Z][A-Z0-9_]+)`/g)])
    .map((match) => match[1]);
}

function constructorOf(node) {
  return node.body.body.find(({ kind }) => kind === 'constructor')?.value;
}

function isCode(node) {
  return node?.type === 'Literal' && typeof node.value === 'string' && CODE.test(node.value);
}
