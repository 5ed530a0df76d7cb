// All of it: `npm run soak` sets the budget.
import './mutate.test.ts';
