// All of it: `npm run soak` sets the budget.
import './vectors.test.ts';
