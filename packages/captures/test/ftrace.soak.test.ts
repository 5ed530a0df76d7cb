// All of it: `npm run soak` sets the budget.
import './ftrace-payloads.test.ts';
import './ftrace.test.ts';
