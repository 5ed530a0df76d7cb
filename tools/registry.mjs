// A package registry on 127.0.0.1 for checks: keeps in memory what is PUT to it or added; other names are 404.
// It never asks another one.
import { once } from 'node:events';
import { createServer } from 'node:http';

export async function startRegistry() {
  const packages = new Map();
  const tarballs = new Map();
  const hold = (name, versions, tags, files) => {
    for (const [file, data] of Object.entries(files)) tarballs.set(`${name}/-/${file}`, data);
    const held = packages.get(name) ?? { name, versions: {}, 'dist-tags': {} };
    Object.assign(held.versions, versions);
    Object.assign(held['dist-tags'], tags);
    packages.set(name, held);
  };
  const state = {
    packages,
    url: '',
    /** Holds a package that was not published here. */
    add({ manifest, tarball }) {
      const { name, version } = manifest;
      const file = `${name.replace(/^.*\//, '')}-${version}.tgz`;
      const { scripts: _, ...rest } = manifest;
      const entry = { ...rest, dist: { tarball: `${state.url}/${name}/-/${file}` } };
      hold(name, { [version]: entry }, { latest: version }, { [file]: tarball });
    },
    close: () => server.close(),
  };
  const server = createServer(async (req, res) => {
    const path = decodeURIComponent(req.url.slice(1));
    const send = (code, body) => res.writeHead(code).end(JSON.stringify(body));
    if (req.method === 'PUT') {
      const chunks = [];
      for await (const chunk of req) chunks.push(chunk);
      const doc = JSON.parse(Buffer.concat(chunks).toString());
      const { name, versions, _attachments } = doc;
      const [[file, { data }]] = Object.entries(_attachments);
      for (const m of Object.values(versions)) m.dist.tarball = `${state.url}/${name}/-/${file}`;
      hold(name, versions, doc['dist-tags'], { [file]: Buffer.from(data, 'base64') });
      return send(201, {});
    }
    if (packages.has(path)) return send(200, packages.get(path));
    if (tarballs.has(path)) return res.end(tarballs.get(path));
    send(404, {});
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  state.url = `http://127.0.0.1:${server.address().port}`;
  return state;
}
