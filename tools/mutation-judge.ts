// The process of one mutation: runs the rows of a job, whose edits tools/mutation-loader.mjs has put in, and prints what they noticed.
import { judge } from '../packages/integration/src/mutations/mutation-job.ts';

process.stdout.write(JSON.stringify(judge(JSON.parse(process.argv[2] ?? '{}'))));
