"""Studies of the product: programs that try it on much and write what they found. No part of the wheel."""
