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
  const check = new ImportCheck(root, layers);
  check.table();
  for (const pkg of check.packages) check.package(pkg);
  return { problems: check.problems, imports: check.imports, packages: check.packages.length };
}

class ImportCheck {
  problems = [];
  imports = 0;
  #root;
  #layers;
  #testsOnly;
  #names;
  #rootDev;

  constructor(root, layers) {
    this.#root = root;
    this.#layers = layers;
    this.packages = packageDirs(pathToFileURL(root + sep)).map((dir) => readPackage(root, dir));
    this.#testsOnly = Object.keys(layers).filter((name) => layers[name].testsOnly);
    this.#names = new Set(this.packages.map((p) => p.manifest.name));
    this.#rootDev = Object.keys(readPackage(root, '..').manifest.devDependencies ?? {});
  }

  /** The table itself: a layer names layers above it only. */
  table() {
    const order = Object.keys(this.#layers);
    for (const [i, name] of order.entries())
      for (const other of this.#layers[name].may)
        if (!order.slice(0, i).includes(other) || this.#testsOnly.includes(other))
          this.#report('tools/layers.mjs', 1, 1, `${name} may not name ${other}`);
  }

  package({ dir, at, manifest, lineOf }) {
    const self = manifest.name;
    const layer = this.#layers[self];
    if (!layer) {
      this.#report(at, lineOf(self), 1, `${self} is not in tools/layers.mjs`);
      return;
    }
    const { dependencies, optionalDependencies, peerDependencies, devDependencies } = manifest;
    const pkg = {
      self,
      layer,
      at,
      lineOf,
      base: join(this.#root, 'packages', dir),
      deps: { ...dependencies, ...optionalDependencies, ...peerDependencies },
      dev: devDependencies ?? {},
      inTests: [...layer.may, ...(layer.testMay ?? []), ...this.#testsOnly],
      used: new Set(),
    };
    this.#manifest(pkg);
    for (const file of sources(pkg.base)) this.#module(pkg, file);
    for (const dep of Object.keys(dependencies ?? {}))
      if (!pkg.used.has(dep))
        this.#report(
          at,
          lineOf(dep),
          'package.json',
          `${dep} is declared but src/ never imports it`,
        );
  }

  #manifest({ self, layer, at, lineOf, deps, dev, inTests }) {
    const report = (dep, rule, what) => this.#report(at, lineOf(dep), rule, what);
    for (const [dep, range] of Object.entries(deps)) {
      if (!this.#ours(dep)) {
        if (layer.pure) report(dep, 5, `third-party dependency ${dep}`);
        continue;
      }
      if (!layer.may.includes(dep))
        report(dep, ruleFor(self, dep), `${self} may not depend on ${dep}`);
      if (range !== 'workspace:^') report(dep, 'package.json', `${dep} must be "workspace:^"`);
    }
    for (const [dep, range] of Object.entries(dev)) {
      if (!this.#ours(dep)) continue;
      if (!inTests.includes(dep))
        report(dep, ruleFor(self, dep), `${self} may not depend on ${dep}, not even in tests`);
      if (range !== 'workspace:^') report(dep, 'package.json', `${dep} must be "workspace:^"`);
    }
  }

  #module(pkg, file) {
    const where = relative(this.#root, file);
    const src = file.startsWith(join(pkg.base, 'src') + sep);
    const { sites, errors } = importSites(file, readFileSync(file, 'utf8'));
    for (const { line, message } of errors)
      this.#report(where, line, 1, `cannot be read: ${message}`);
    for (const site of sites) {
      this.imports++;
      const { line, spec } = site;
      const fail = (rule, why) => this.#report(where, line, rule, `'${spec}' ${why}`);
      if (spec !== null) this.#site(pkg, { ...site, file, src }, fail);
      else if (src && site.kind === 'import')
        this.#report(where, line, 1, 'import of a computed name');
    }
  }

  #site(pkg, site, fail) {
    const { spec, kind, file, src } = site;
    const { base, layer } = pkg;
    if (kind === 'url') {
      // An absolute URL that is no file is data, not a way into another package.
      const target = new URL(spec, pathToFileURL(file));
      if (src && target.protocol === 'file:' && !fileURLToPath(target).startsWith(base + sep))
        fail(1, 'leaves the package');
    } else if (spec.startsWith('.') || kind === 'path') {
      const target = resolve(dirname(file), spec);
      const inTools = target.startsWith(join(this.#root, 'tools') + sep);
      if (src && !target.startsWith(join(base, 'src') + sep)) fail(1, 'leaves src/');
      else if (!target.startsWith(base + sep) && !inTools) fail(1, 'leaves the package');
    } else if (/^(?:[/\\]|[a-z]+:)/i.test(spec) && !spec.startsWith('node:')) {
      fail(1, 'is no package name');
    } else if (isBuiltin(spec) || (kind === 'types' && spec === 'node')) {
      if (src && layer.pure) fail(5, 'is not there in a browser');
      else if (kind === 'import' && !spec.startsWith('node:'))
        fail('package.json', 'must be written with node:');
    } else this.#packageName(pkg, site, fail);
  }

  #packageName(pkg, { spec, src, names: taken }, fail) {
    const { self, layer, deps, dev, inTests, used } = pkg;
    const parts = spec.split('/');
    const dep = parts.slice(0, spec.startsWith('@') ? 2 : 1).join('/');
    const declared = deps[dep] || (!src && dev[dep]);
    if (src) used.add(dep);
    if (dep === self) {
      if (src) fail(1, 'is this package itself');
      return;
    }
    if (!this.#ours(dep)) {
      if (src && layer.pure) fail(5, 'is a third-party package');
      else if (!declared && (src || !this.#rootDev.includes(dep)))
        fail('package.json', 'is not declared');
      return;
    }
    if (dep !== spec && !this.#exported(dep, spec))
      fail(1, 'reaches past the exports of the package');
    if (!(src ? layer.may : inTests).includes(dep)) {
      const testsOnly = src && inTests.includes(dep);
      const why = testsOnly
        ? `is allowed in the tests of ${self} only`
        : `is not allowed in ${self}`;
      fail(ruleFor(self, dep), why);
    } else if (!declared) fail('package.json', 'is not declared');
    const only = !src && layer.testMay?.includes(dep) ? undefined : layer.only?.[dep];
    if (only && taken === null) fail(1, `must be imported by name: ${only.join(', ')}`);
    for (const name of only ? (taken ?? []) : [])
      if (!only.includes(name)) fail(1, `gives ${self} no ${name}, only ${only.join(', ')}`);
  }

  #ours(dep) {
    return this.#names.has(dep) || Object.hasOwn(this.#layers, dep);
  }

  /** A subpath that the package itself offers, by its full name. */
  #exported(dep, spec) {
    const { exports = {} } = this.packages.find((p) => p.manifest.name === dep)?.manifest ?? {};
    return Object.hasOwn(exports, `.${spec.slice(dep.length)}`);
  }

  #report(file, line, rule, what) {
    this.problems.push(complaint({ file: file.split(sep).join('/'), line, rule, what }));
  }
}

function ruleFor(self, dep) {
  return APART.some((pair) => pair.includes(self) && pair.includes(dep)) ? 2 : 1;
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
