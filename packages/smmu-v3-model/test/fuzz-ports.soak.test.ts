// All of it: `npm run soak` sets the budget.
import './fuzz-ports.test.ts';
