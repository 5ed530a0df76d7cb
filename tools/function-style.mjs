// What a function may look like: its length, its parameters, and how it is called.
import { codeLines, commentsAbove, lineAt, visit } from './parsed-module.mjs';

export const MAX_FUNCTION_LINES = 60;
export const MAX_PARAMETERS = 5;
/** What a comment right above a longer function must say. */
export const LONG_REASON = 'Long because';

const FUNCTIONS = /^(?:FunctionDeclaration|FunctionExpression|ArrowFunctionExpression)$/;
/** Types and signatures that take parameters too. */
const SIGNATURES =
  /^(?:TSMethodSignature|TSFunctionType|TSDeclareFunction|TSEmptyBodyFunctionExpression|TSCallSignatureDeclaration|TSConstructSignatureDeclaration|TSConstructorType)$/;
/** What a comment of a function stands above. */
const HOLDERS =
  /^(?:MethodDefinition|PropertyDefinition|Property|VariableDeclarator|VariableDeclaration|ExportNamedDeclaration)$/;
/** Methods of collections whose argument is a value, and those of `DataView`, whose last one is the platform's. */
const OF_VALUES = /^(?:set|add|push|fill|includes|indexOf|[gs]et(?:(?:Big)?(?:Ui|I)nt|Float)\d+)$/;

/** Complaints about the functions of a module, and its calls. */
export function functionComplaints(module) {
  const complaints = [];
  const complain = (node, what) =>
    complaints.push(`${module.file}:${lineAt(module, node.start)}: ${what}`);
  visit(module.program, (node, above) => {
    const isFunction = FUNCTIONS.test(node.type);
    if (isFunction) {
      const lines = codeLines(module, node.start, node.end);
      if (lines > MAX_FUNCTION_LINES && !hasReason(module, node, above))
        complain(node, `function of ${lines} lines, at most ${MAX_FUNCTION_LINES}`);
    }
    if (isFunction || SIGNATURES.test(node.type)) {
      const { params } = node;
      if (params.length > MAX_PARAMETERS)
        complain(node, `${params.length} parameters, at most ${MAX_PARAMETERS}`);
      // A setter is written as an assignment, where the value has a name.
      if (above.at(-1)?.kind !== 'set')
        for (const param of params) if (isBoolean(param)) complain(param, 'boolean parameter');
    }
    if (node.type === 'CallExpression' || node.type === 'NewExpression') {
      if (OF_VALUES.test(node.callee.property?.name ?? '')) return;
      for (const argument of node.arguments)
        if (typeof argument.value === 'boolean' && argument.type === 'Literal')
          complain(argument, `the argument \`${argument.value}\` says nothing`);
    }
  });
  return complaints;
}

function hasReason(module, node, above) {
  let top = node;
  for (const parent of above.toReversed()) {
    if (!HOLDERS.test(parent.type)) break;
    top = parent;
  }
  return commentsAbove(module, top.start).some(({ value }) => value.includes(LONG_REASON));
}

function isBoolean(param) {
  if (param.type === 'AssignmentPattern')
    return isBoolean(param.left) || typeof param.right.value === 'boolean';
  if (param.type === 'RestElement') return false;
  return saysBoolean(param.typeAnnotation?.typeAnnotation);
}

function saysBoolean(type) {
  if (type === undefined || type === null) return false;
  // Together with other types it is a value, not a switch.
  if (type.type === 'TSUnionType') {
    const types = type.types.filter((one) => !/^TS(?:Undefined|Null)Keyword$/.test(one.type));
    return types.length > 0 && types.every(saysBoolean);
  }
  return (
    type.type === 'TSBooleanKeyword' ||
    (type.type === 'TSLiteralType' && typeof type.literal.value === 'boolean')
  );
}
