// All of it: `npm run soak` sets the budget.
import './mutations.test.ts';
