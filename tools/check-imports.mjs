// Checks every package.json and every import, of whatever syntax, against tools/layers.mjs.
import { readdirSync, readFileSync } from 'node:fs';
import { isBuiltin } from 'node:module';
import { dirname, join, relative, resolve, sep } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { importSites } from './import-sites.mjs';
import { APART, LAYERS, packageDirs, RULES } from './layers.mjs';

/** A complaint: file from the workspace's root, 1-based line, key of the rule in RULES. */
const complaint = ({ file, line, rule, what }) =>
  `${file}:${line}: ${what} (rule ${rule}: ${RULES[rule]})`;

/**
 * @param {string} root the workspace to check
 * @param {typeof LAYERS} layers
 * @returns {{ problems: string[], imports: number, packages: number }}
 */
export function checkImports(root, layers = LAYERS) {
  const problems = [];
  const report = (file, line, rule, what) =>
    problems.push(complaint({ file: file.split(sep).join('/'), line, rule, what }));
  const order = Object.keys(layers);
  const testsOnly = order.filter((name) => layers[name].testsOnly);

  for (const [i, name] of order.entries())
    for (const other of layers[name].may)
      if (!order.slice(0, i).includes(other) || testsOnly.includes(other))
        report('tools/layers.mjs', 1, 1, `${name} may not name ${other}`);

  const packages = packageDirs(pathToFileURL(root + sep)).map((dir) => readPackage(root, dir));
  const names = new Set(packages.map((p) => p.manifest.name));
  const rootDev = Object.keys(readPackage(root, '..').manifest.devDependencies ?? {});
  // A subpath that the package itself offers, by its full name.
  const exported = (dep, spec) =>
    Object.hasOwn(
      packages.find((p) => p.manifest.name === dep)?.manifest.exports ?? {},
      `.${spec.slice(dep.length)}`,
    );
  let imports = 0;

  for (const { dir, at, manifest, lineOf } of packages) {
    const self = manifest.name;
    const layer = layers[self];
    if (!layer) {
      report(at, lineOf(self), 1, `${self} is not in tools/layers.mjs`);
      continue;
    }
    const inTests = [...layer.may, ...(layer.testMay ?? []), ...testsOnly];
    const ruleFor = (dep) =>
      APART.some((pair) => pair.includes(self) && pair.includes(dep)) ? 2 : 1;

    const deps = {
      ...manifest.dependencies,
      ...manifest.optionalDependencies,
      ...manifest.peerDependencies,
    };
    const dev = manifest.devDependencies ?? {};
    for (const [dep, range] of Object.entries(deps)) {
      if (names.has(dep) || layers[dep]) {
        if (!layer.may.includes(dep))
          report(at, lineOf(dep), ruleFor(dep), `${self} may not depend on ${dep}`);
        if (range !== 'workspace:^')
          report(at, lineOf(dep), 'package.json', `${dep} must be "workspace:^"`);
      } else if (layer.pure) report(at, lineOf(dep), 5, `third-party dependency ${dep}`);
    }
    for (const [dep, range] of Object.entries(dev)) {
      if (!names.has(dep) && !layers[dep]) continue;
      if (!inTests.includes(dep))
        report(
          at,
          lineOf(dep),
          ruleFor(dep),
          `${self} may not depend on ${dep}, not even in tests`,
        );
      if (range !== 'workspace:^')
        report(at, lineOf(dep), 'package.json', `${dep} must be "workspace:^"`);
    }

    const used = new Set();
    const base = join(root, 'packages', dir);
    for (const file of sources(base)) {
      const where = relative(root, file);
      const src = file.startsWith(join(base, 'src') + sep);
      const { sites, errors } = importSites(file, readFileSync(file, 'utf8'));
      for (const { line, message } of errors) report(where, line, 1, `cannot be read: ${message}`);

      for (const { line, spec, kind, names: taken } of sites) {
        imports++;
        const fail = (rule, why) => report(where, line, rule, `'${spec}' ${why}`);
        if (spec === null) {
          if (src && kind === 'import') report(where, line, 1, 'import of a computed name');
          continue;
        }
        if (kind === 'url') {
          // An absolute URL that is no file is data, not a way into another package.
          const target = new URL(spec, pathToFileURL(file));
          if (src && target.protocol === 'file:' && !fileURLToPath(target).startsWith(base + sep))
            fail(1, 'leaves the package');
          continue;
        }
        if (spec.startsWith('.') || kind === 'path') {
          const target = resolve(dirname(file), spec);
          if (src && !target.startsWith(join(base, 'src') + sep)) fail(1, 'leaves src/');
          else if (!target.startsWith(base + sep) && !target.startsWith(join(root, 'tools') + sep))
            fail(1, 'leaves the package');
          continue;
        }
        if (/^(?:[/\\]|[a-z]+:)/i.test(spec) && !spec.startsWith('node:')) {
          fail(1, 'is no package name');
          continue;
        }
        if (isBuiltin(spec) || (kind === 'types' && spec === 'node')) {
          if (src && layer.pure) fail(5, 'is not there in a browser');
          else if (kind === 'import' && !spec.startsWith('node:'))
            fail('package.json', 'must be written with node:');
          continue;
        }

        const dep = spec
          .split('/')
          .slice(0, spec.startsWith('@') ? 2 : 1)
          .join('/');
        if (src) used.add(dep);
        if (dep === self) {
          if (src) fail(1, 'is this package itself');
        } else if (names.has(dep) || layers[dep]) {
          if (dep !== spec && !exported(dep, spec))
            fail(1, 'reaches past the exports of the package');
          if (!(src ? layer.may : inTests).includes(dep))
            fail(
              ruleFor(dep),
              src && inTests.includes(dep)
                ? `is allowed in the tests of ${self} only`
                : `is not allowed in ${self}`,
            );
          else if (!deps[dep] && (src || !dev[dep])) fail('package.json', 'is not declared');
          const only = !src && layer.testMay?.includes(dep) ? undefined : layer.only?.[dep];
          if (only && taken === null) fail(1, `must be imported by name: ${only.join(', ')}`);
          for (const name of only ? (taken ?? []) : [])
            if (!only.includes(name)) fail(1, `gives ${self} no ${name}, only ${only.join(', ')}`);
        } else if (src && layer.pure) fail(5, 'is a third-party package');
        else if (!deps[dep] && (src || (!dev[dep] && !rootDev.includes(dep))))
          fail('package.json', 'is not declared');
      }
    }
    for (const dep of Object.keys(manifest.dependencies ?? {}))
      if (!used.has(dep))
        report(at, lineOf(dep), 'package.json', `${dep} is declared but src/ never imports it`);
  }
  return { problems, imports, packages: packages.length };
}

function readPackage(root, dir) {
  const path = join(root, 'packages', dir, 'package.json');
  const text = readFileSync(path, 'utf8');
  const lines = text.split('\n');
  return {
    dir,
    at: relative(root, path),
    manifest: JSON.parse(text),
    lineOf: (word) => lines.findIndex((line) => line.includes(`"${word}"`)) + 1,
  };
}

/** Every module of a package; what is not in src/ is held to the rules for tests. */
function sources(base) {
  return readdirSync(base, { withFileTypes: true }).flatMap((entry) => {
    const path = join(base, entry.name);
    if (entry.isDirectory())
      return /^(?:node_modules|dist|data|fixtures|\..*)$/.test(entry.name) ? [] : sources(path);
    return /\.[cm]?[jt]sx?$/.test(entry.name) ? [path] : [];
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { problems, imports, packages } = checkImports(
    fileURLToPath(new URL('..', import.meta.url)).replace(/[/\\]$/, ''),
  );
  for (const problem of problems) console.error(problem);
  console.log(`imports: ${imports} in ${packages} packages, ${problems.length} problems`);
  process.exit(problems.length > 0 ? 1 : 0);
}
