// Takes a package's README apart: what every one must have, and its example.

/** The fenced blocks of a Markdown text: language and content. */
export const fences = (markdown) =>
  [...markdown.matchAll(/^```(\w*)[^\n]*\n(.*?)^```\s*$/gms)].map(([, language, text]) => ({
    language,
    text,
  }));

/**
 * What is wrong with the README of the package `name`, and its one runnable example if it has one.
 * The command's README may show a shell instead.
 */
export function readReadme(name, markdown) {
  const blocks = fences(markdown);
  const examples = blocks.filter(({ language }) => language === 'ts');
  const complaints = [];
  const command = name === 'iommukit';
  const prose = markdown.replace(/^```.*?^```\s*$/gms, '');
  if (!/^#\s/m.test(prose)) complaints.push('no title');
  if (!/^\|\s*owns\s*\|\s*does not own\s*\|/im.test(prose))
    complaints.push('no table "owns | does not own"');
  if (!new RegExp(`npm (?:install|i)(?: -g| --global)? ${name}(?![\\w/-])`).test(markdown))
    complaints.push(`no line "npm install ${name}"`);
  if (command && examples.length === 0) {
    if (!blocks.some(({ language }) => /^(?:sh|bash|console)$/.test(language)))
      complaints.push('no example');
  } else if (examples.length !== 1) {
    complaints.push(`${examples.length} \`\`\`ts examples, must be one`);
  } else if (!examples[0].text.includes(`from '${name}'`)) {
    complaints.push(`the example does not import from '${name}'`);
  } else if (!/\bthrow new \w*Error\b|\bassert\b/.test(examples[0].text)) {
    complaints.push('the example asserts nothing');
  }
  return { complaints, example: examples.length === 1 ? examples[0].text : undefined };
}
