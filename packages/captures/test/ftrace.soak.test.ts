// All of it: `npm run soak` sets the budget.
import './ftrace.test.ts';
