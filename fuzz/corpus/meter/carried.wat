(module
	(memory (export "memory") 1 1)
	(type $many (func (param i64 i64 i64 i64 i64 i64 i64 i64 i64 i64) (result i32 i64)))
	(table 2 2 funcref)
	(elem (i32.const 0) $f $f)
	(func $f (type $many) (i32.const 1) (local.get 9))
	(func (export "headstart_main") (local $n i32)
		(block $a (block $b (block $c (br_table $a $b $c $a (local.get $n)))))
		(loop $again
			(call_indirect (type $many) (i64.const 0) (i64.const 1) (i64.const 2) (i64.const 3) (i64.const 4)
				(i64.const 5) (i64.const 6) (i64.const 7) (i64.const 8) (i64.const 9) (i32.const 1))
			(drop) (drop)
			(br_if $again (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 3))))))
