// Started by `--import`, ahead of tsx: the modules that tsx then gets have the edits of the job in them, which is the program's argument.
import { register } from 'node:module';
import { LOADED } from './mutation-hooks.mjs';

globalThis[Symbol.for(LOADED)] = [];
const { edits = [] } = JSON.parse(process.argv[2] ?? '{}');
register('./mutation-hooks.mjs', import.meta.url, { data: { edits } });
