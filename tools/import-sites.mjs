// Finds every place where a module names another one, whatever the syntax.
import { parseSync } from 'oxc-parser';

/**
 * @typedef {object} Site
 * @property {number} line 1-based
 * @property {string | null} spec what is named; null when it is computed
 * @property {'import' | 'url' | 'types' | 'path'} kind `url`: `new URL(spec, import.meta.url)`; `types` and `path`: a
 *   `/// <reference>`
 * @property {string[] | null} names the names taken from it; null when any of them may be
 */

/**
 * @param {string} file
 * @param {string} text
 * @returns {{ sites: Site[], errors: { line: number, message: string }[] }}
 */
export function importSites(file, text) {
  const lineAt = (offset) => text.slice(0, offset).split('\n').length;
  const { program, comments, errors } = parseSync(file, text);
  const sites = [];
  const add = (node, spec, kind, names) =>
    sites.push({ line: lineAt(node.start), spec, kind, names });

  for (const comment of comments) {
    const reference = /^\/\s*<reference\s+(types|path)\s*=\s*["']([^"']+)/.exec(comment.value);
    if (reference) add(comment, reference[2], reference[1], null);
  }
  visit(program, (node) => {
    switch (node.type) {
      case 'ImportDeclaration':
        add(node, node.source.value, 'import', node.specifiers.map(importedName).reduce(all, []));
        break;
      case 'ExportNamedDeclaration':
        if (node.source)
          add(
            node,
            node.source.value,
            'import',
            node.specifiers.map((s) => nameOf(s.local)),
          );
        break;
      case 'ExportAllDeclaration':
        add(node, node.source.value, 'import', null);
        break;
      case 'ImportExpression':
        add(node, literal(node.source), 'import', null);
        break;
      case 'TSImportType':
        add(node, literal(node.source ?? node.argument), 'import', typeName(node.qualifier));
        break;
      case 'TSImportEqualsDeclaration':
        if (node.moduleReference.type === 'TSExternalModuleReference')
          add(node, literal(node.moduleReference.expression), 'import', null);
        break;
      case 'CallExpression':
        if (isResolve(node.callee) || isRequire(node.callee))
          add(node, literal(node.arguments[0]), 'import', null);
        break;
      case 'NewExpression':
        if (node.callee.name === 'URL' && isMeta(node.arguments[1], 'url'))
          add(node, pattern(node.arguments[0]), 'url', null);
        break;
    }
  });
  return {
    sites: sites.sort((a, b) => a.line - b.line),
    errors: errors.map((e) => ({ line: lineAt(e.labels[0]?.start ?? 0), message: e.message })),
  };
}

/** @param {string} file @param {string} text */
export function commentsOf(file, text) {
  return parseSync(file, text).comments;
}

function visit(node, enter) {
  enter(node);
  for (const value of Object.values(node)) {
    if (Array.isArray(value)) {
      for (const item of value) if (item?.type) visit(item, enter);
    } else if (value?.type) visit(value, enter);
  }
}

const nameOf = (node) => node.name ?? node.value;
const importedName = (s) =>
  s.type === 'ImportNamespaceSpecifier'
    ? null
    : s.type === 'ImportDefaultSpecifier'
      ? 'default'
      : nameOf(s.imported);
const all = (names, name) => (names === null || name === null ? null : [...names, name]);

/** The leftmost name of `A.B.C`, or null for the whole module. */
function typeName(qualifier) {
  let node = qualifier;
  while (node?.left) node = node.left;
  return node ? [nameOf(node)] : null;
}

function literal(node) {
  if (node?.type === 'TSLiteralType') return literal(node.literal);
  if (node?.type === 'Literal' && typeof node.value === 'string') return node.value;
  return node?.type === 'TemplateLiteral' && node.expressions.length === 0 ? pattern(node) : null;
}

/** Like `literal`, with one plain path segment for each expression: `../${name}/` still says where it leads. */
const pattern = (node) =>
  node?.type === 'TemplateLiteral'
    ? node.quasis.map((q) => q.value.cooked).join('0')
    : literal(node);

const isMeta = (node, property) =>
  node?.type === 'MemberExpression' &&
  node.object.type === 'MetaProperty' &&
  nameOf(node.property) === property;
const isResolve = (callee) => isMeta(callee, 'resolve');
const isRequire = (callee) =>
  callee.name === 'require' ||
  (callee.object?.name === 'require' && nameOf(callee.property) === 'resolve');
