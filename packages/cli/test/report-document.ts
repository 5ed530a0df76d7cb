/** What a test needs to know of an HTML document, by a small parser of its own: elements must be closed in order. */
export interface ReportElement {
  readonly name: string;
  readonly attributes: Readonly<Record<string, string>>;
  readonly text: string;
  /** Names of the elements around it, outermost first. */
  readonly within: readonly string[];
  /** The `id` of the nearest table row around it. */
  readonly row: string | undefined;
}

const VOID = new Set(['meta', 'br', 'hr', 'img', 'input', 'link']);

function unescapeHtml(text: string): string {
  const signs: Record<string, string> = { lt: '<', gt: '>', quot: '"', amp: '&' };
  return text.replace(/&(\w+);/g, (entity, name: string) => signs[name] ?? entity);
}

/** The elements of a document, in the order of their ends; throws where it is not well formed. */
export function parseReport(html: string): ReportElement[] {
  const elements: ReportElement[] = [];
  const open: { name: string; attributes: Record<string, string>; start: number }[] = [];
  const tag = /<!DOCTYPE html>|<(\/?)([a-zA-Z][\w-]*)((?:\s+[\w:-]+(?:="[^"<]*")?)*)\s*>/g;
  let last = 0;
  for (const match of html.matchAll(tag)) {
    if (open.at(-1)?.name !== 'style' && /[<>]/.test(html.slice(last, match.index)))
      throw new Error(`stray sign in ${html.slice(last, match.index).slice(0, 80)}`);
    last = match.index + match[0].length;
    const [, closing, name, rest = ''] = match;
    if (name === undefined) continue;
    if (closing === '/') {
      const top = open.pop();
      if (top?.name !== name) throw new Error(`</${name}> closes <${top?.name}>`);
      const text = html.slice(top.start, match.index).replace(/<[^>]*>/g, '');
      const row = [...open, top].findLast((one) => one.name === 'tr')?.attributes['id'];
      const within = open.map((one) => one.name);
      elements.push({ name, attributes: top.attributes, text: unescapeHtml(text), within, row });
      continue;
    }
    const attributes = Object.fromEntries(
      [...rest.matchAll(/([\w:-]+)(?:="([^"]*)")?/g)].map(([, key, value = '']) => [
        key,
        unescapeHtml(value),
      ]),
    );
    if (VOID.has(name)) elements.push({ name, attributes, text: '', within: [], row: undefined });
    else open.push({ name, attributes, start: last });
  }
  if (open.length > 0) throw new Error(`<${open.at(-1)?.name}> is not closed`);
  return elements;
}
