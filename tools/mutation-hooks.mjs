// Hooks of a module loader that replace texts in modules of the workspace. Each text must stand in its module exactly once. Which modules
// were loaded so is left in a global of the program, for who asks afterwards.

/** Where the list of replaced modules stands. */
export const LOADED = 'iommukit.replaced';

let edits = [];

export function initialize(data) {
  edits = data.edits;
}

export async function load(url, context, nextLoad) {
  const result = await nextLoad(url, context);
  const path = url.split('?')[0];
  const here = edits.filter(({ module }) => path.endsWith(`/packages/${module}`));
  if (here.length === 0) return result;
  let text = String(result.source);
  for (const { module, find, replace } of here) {
    const places = text.split(find).length - 1;
    if (places !== 1)
      throw new Error(`${module}: ${places} places with ${JSON.stringify(find)}, expected 1`);
    text = text.replace(find, () => replace);
  }
  const note = `globalThis[Symbol.for('${LOADED}')].push('${here[0].module}');`;
  return { ...result, source: `${text}\n${note}\n` };
}
