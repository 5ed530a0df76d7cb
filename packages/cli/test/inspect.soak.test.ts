// All of it: `npm run soak` sets the budget.
import './inspect.test.ts';
