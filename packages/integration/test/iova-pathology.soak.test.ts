// All of it: `npm run soak` sets the budget.
import './iova-pathology.test.ts';
