"""The words and pictures that the starter head is taught: photos, emoji, ImageNet classes."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageOps

KEYWORDS = 3
GROUNDS = ("white", "#d9d9d9", "#f3e3cc", "#cfe3f2", "#3a3a3a")

# One line per photo class of the grocery set: class id, then words for the same kind beside the
# Chinese title that labels.csv gives. The first words are near synonyms, the last the kind.
_GROCERY = """
0 黄苹果 黄元帅苹果 苹果 水果
1 绿苹果 青皮苹果 苹果 水果
2 粉苹果 粉色苹果 苹果 水果
3 红苹果 蛇果 苹果 水果
4 红苹果 嘎拉果 苹果 水果
5 鳄梨 新鲜牛油果 水果
6 芭蕉 新鲜香蕉 黄色香蕉 水果
7 奇异果 新鲜猕猴桃 水果
8 黄柠檬 新鲜柠檬 水果
9 绿柠檬 酸橙 水果
10 新鲜芒果 热带水果 水果
11 蜜瓜 网纹瓜 甜瓜 水果
12 网纹瓜 黄皮甜瓜 甜瓜 水果
13 白兰瓜 哈密瓜 甜瓜 水果
14 大西瓜 夏日水果 水果
15 油桃 光皮桃子 桃 水果
16 甜橙 脐橙 橘子 水果
17 番木瓜 热带水果 水果
18 西番莲 鸡蛋果 水果
19 水蜜桃 毛桃 桃 水果
20 青梨 西洋梨 梨子 水果
21 长梨 西洋梨 梨子 水果
22 褐皮梨 西洋梨 梨子 水果
23 凤梨 热带水果 水果
24 紫色李子 西梅 布林 水果
25 红石榴 石榴籽 水果
26 葡萄柚 红心柚子 西柚 水果
27 橘子 蜜桔 柑橘 水果
28 苹果汁 盒装苹果汁 果汁 饮料
29 橙汁 盒装橙汁 果汁 饮料
30 苹果汁 盒装苹果汁 果汁 饮料
31 橙汁 盒装橙汁 果汁 饮料
32 混合果汁 橙子西柚汁 果汁 饮料
33 西柚汁 葡萄柚汁 果汁 饮料
34 苹果汁 瓶装苹果汁 果汁 饮料
35 西柚汁 葡萄柚汁 果汁 饮料
36 橙汁 鲜榨橙汁 果汁 饮料
37 柑橘汁 橘子汁 果汁 饮料
38 有机牛奶 盒装牛奶 牛奶 乳制品
39 无乳糖奶 舒化奶 牛奶 乳制品
40 半脱脂牛奶 盒装牛奶 牛奶 乳制品
41 纯牛奶 全脂奶 牛奶 乳制品
42 有机牛奶 盒装牛奶 牛奶 乳制品
43 有机牛奶 全脂奶 牛奶 乳制品
44 植物酸奶 燕麦发酵饮品 酸奶 乳制品
45 燕麦饮料 植物奶 燕麦乳 饮品
46 有机酸奶油 奶油 乳制品
47 酸奶油 奶油 乳制品
48 酸奶 发酵乳 酸牛奶 乳制品
49 蓝莓酸奶 植物酸奶 大豆酸奶 酸奶
50 香草酸奶 植物酸奶 大豆酸奶 酸奶
51 豆浆 豆奶 大豆饮料 植物奶
52 豆浆 盒装豆奶 大豆饮料 植物奶
53 香草味酸奶 风味酸奶 酸奶 乳制品
54 低脂酸奶 无糖酸奶 酸奶 乳制品
55 纯酸奶 无糖酸奶 酸奶 乳制品
56 香草味酸奶 风味酸奶 酸奶 乳制品
57 草莓味酸奶 风味酸奶 酸奶 乳制品
58 香草味酸奶 风味酸奶 酸奶 乳制品
59 芦笋尖 绿芦笋 蔬菜
60 紫茄子 长茄子 蔬菜
61 圆白菜 包菜 甘蓝 蔬菜
62 红萝卜 新鲜胡萝卜 蔬菜
63 青瓜 新鲜黄瓜 蔬菜
64 蒜头 蒜 调味蔬菜 蔬菜
65 姜 老姜 调味蔬菜 蔬菜
66 韭葱 京葱 蔬菜
67 棕色蘑菇 口蘑 蘑菇 菌菇 蔬菜
68 洋葱 洋葱头 蔬菜
69 绿色甜椒 绿甜椒 灯笼椒 蔬菜
70 橙甜椒 彩椒 灯笼椒 蔬菜
71 红色甜椒 红彩椒 灯笼椒 蔬菜
72 黄色甜椒 黄彩椒 灯笼椒 蔬菜
73 土豆 马铃薯 洋芋 蔬菜
74 土豆 马铃薯 洋芋 蔬菜
75 地瓜 番薯 甘薯 蔬菜
76 红菜头 甜菜 根茎蔬菜 蔬菜
77 大番茄 西红柿 番茄 蔬菜
78 西红柿 番茄 蔬菜
79 带藤番茄 西红柿 番茄 蔬菜
80 夏南瓜 角瓜 绿皮西葫芦 蔬菜
"""

_CLOTHING = """
0 裙子 女士长裙 连身裙 女装 服装
1 棒球帽 遮阳帽 鸭舌帽 帽 服饰
2 长袖T恤 卫衣 打底衫 上衣 服装
3 夹克 大衣 羽绒服 风衣 服装
4 裤子 牛仔裤 休闲裤 长裤子 服装
5 衬衣 短袖衬衫 格子衬衫 上衣 服装
6 运动鞋 皮鞋 休闲鞋 鞋 鞋类
7 短裤子 运动短裤 沙滩裤 裤子 服装
8 裙子 短裙 百褶裙 女装 服装
9 短袖 短袖T恤 圆领体恤 上衣 服装
"""

# Single code points kept, inclusive ranges: plants, food, things, clothes, animals, vehicles,
# tools. Everything else (faces, people, gestures, hearts, flags, signs, arrows, clocks with a
# given hour, buildings, landscapes, weather, zodiac) is not what a shop sells.
_EMOJI_RANGES = """
231a 2328 23f0-23f2 2602 260e 2614-2615 2692 2696-2697 26be 26bd 26d1 26d3 26f1 26f5 26f8 26fa
2702 2708 270f 2712 1f302 1f321 1f32d-1f330 1f331-1f33b 1f33d-1f341 1f344-1f37f 1f380-1f384
1f388 1f390 1f392-1f393 1f399 1f39e 1f3a4-1f3a5 1f3a7-1f3a9 1f3ac 1f3ae-1f3af 1f3b1-1f3b3
1f3b7-1f3bb 1f3bd-1f3c0 1f3c5-1f3c6 1f3c8-1f3c9 1f3cd-1f3d3 1f3ee 1f3f8-1f3fa 1f400-1f43f
1f451-1f462 1f484 1f489-1f48a 1f48d-1f48e 1f490 1f4a1 1f4b0 1f4b3-1f4b5 1f4ba-1f4c0
1f4c5 1f4cb-1f4d0 1f4d2-1f4da 1f4dd-1f4e1 1f4e3 1f4e6 1f4ee-1f4f1 1f4f7-1f4fd 1f4ff 1f50b-1f50e
1f511-1f512 1f514 1f526-1f52a 1f52c-1f52e 1f56f-1f570 1f576 1f579 1f58a-1f58d 1f5a5 1f5a8
1f5b1-1f5b2 1f5bc 1f5c3-1f5c4 1f5d1-1f5d2 1f5dc-1f5dd 1f680-1f686 1f68c 1f690-1f693 1f695 1f697
1f699-1f69c 1f6a2-1f6a4 1f6aa 1f6b2 1f6bd 1f6bf 1f6c1 1f6cb 1f6cd-1f6cf 1f6d2 1f6dd-1f6df
1f6e0 1f6e5 1f6e9 1f6f4-1f6fc 1f941-1f944 1f947-1f947 1f94a-1f96f 1f97b-1f9ae 1f9ba 1f9bc-1f9bd
1f9c0-1f9cb 1f9e2-1f9ea 1f9ed-1f9fe 1fa70-1fa74 1fa79-1fa7a 1fa7c 1fa80-1fa88 1fa91-1fa97
1fa98-1fa9f 1faa0-1faa1 1faa3-1faa5 1faa9 1faad-1faae 1fab0 1fab2 1fab4-1fab7 1fabb 1fabf
1face-1facf 1fad0-1fad6 1fad8-1fadb
"""
_EMOJI_LEFT_OUT = "1f36e 1f385-1f387 1f43d-1f43e 1f463 1f4cc-1f4cd 1f4d1 1f4df 1f9a0"

# Names that a shop would use for what an emoji shows, beside its CLDR names.
_EMOJI_SHOP = """
231a 腕表 智能手表|2328 电脑键盘 机械键盘|23f0 小闹钟|2615 咖啡 咖啡杯 杯子 马克杯|26bd 球类
26fa 户外帐篷 露营装备|2614 雨具 长柄伞|1f302 折叠伞 雨伞|1f392 双肩包 背包 包
1f3a7 头戴式耳机 耳麦|1f3ae 游戏机 手柄|1f3b8 木吉他 乐器|1f3a9 帽子|1f451 皇冠头饰
1f452 草帽 遮阳帽 帽子|1f453 近视眼镜 镜框|1f454 男士领带 衬衫|1f455 短袖 上衣|1f456 长裤 裤子
1f457 裙子 女装|1f45b 钱夹 女士钱包|1f45c 女包 手提包 皮包|1f45d 小包 手拿包|1f45e 皮鞋 鞋子
1f45f 运动鞋 球鞋 鞋子|1f460 女鞋 高跟皮鞋|1f461 凉鞋 女鞋|1f462 靴子 长靴|1f484 口红 化妆品
1f48d 钻戒 首饰|1f48e 钻石 珠宝|1f490 鲜花 花|1f4a1 电灯泡 灯具|1f4ba 椅子 座椅
1f4bb 笔记本电脑 电脑 手提电脑|1f4bc 公文包 手提箱|1f4d3 本子 文具|1f4d6 书籍 图书|1f4da 图书 书本
1f4f1 智能手机 手机|1f4f7 数码相机 照相机|1f4f9 摄影机|1f4fa 电视 液晶电视|1f4fb 收音机
1f50b 干电池 充电宝|1f50c 插头 充电器|1f526 电筒|1f527 扳手 工具|1f528 锤子 五金工具
1f52a 厨刀 菜刀|1f56f 香薰蜡烛|1f570 时钟 台钟|1f576 太阳镜 太阳眼镜|1f58a 圆珠笔 中性笔
1f58b 钢笔 文具|1f5a5 显示器 台式机|1f5a8 打印机|1f5b1 鼠标 无线鼠标|1f5bc 装饰画 画框
1f6b2 单车 山地车|1f6cb 沙发 客厅沙发 家具|1f6cf 床 双人床 家具|1f6c1 浴缸 浴室|1f6d2 购物车
1f6cd 购物袋 手提袋|1f6f4 滑板车|1f6f9 滑板|1f941 鼓 架子鼓|1f943 玻璃杯 酒杯|1f944 勺子 汤匙
1f94a 拳击手套|1f951 牛油果 水果|1f95b 牛奶 玻璃杯|1f962 筷子 餐具|1f963 碗 餐具|1f964 饮料杯 奶茶
1f97c 白色外套|1f97e 登山靴 徒步鞋|1f97f 单鞋 女鞋|1f9c1 杯子蛋糕 甜点|1f9c3 盒装果汁 饮料
1f9e2 棒球帽 帽子|1f9e3 围脖 针织围巾|1f9e4 保暖手套|1f9e5 大衣 夹克|1f9e6 棉袜 短袜
1f9f3 拉杆箱 旅行箱|1f9f4 乳液 洗发水 护肤品|1f9f8 毛绒玩具 玩具熊|1f9f9 扫把|1f9fa 篮子 收纳篮
1f9fb 卫生纸 纸巾|1f9fc 香皂 肥皂|1f9fd 清洁海绵|1fa91 木椅 餐椅 家具|1fa92 刮胡刀
1fa9e 镜子 化妆镜|1fab4 绿植 盆栽|1fad6 茶壶 茶具|1fad9 玻璃罐 储物罐|1faa5 牙刷 洗漱用品
1fa73 短裤 运动短裤|1fa74 人字拖 拖鞋|1f375 茶杯 绿茶|1f37d 盘子 餐盘|1f37a 啤酒 啤酒杯
1f377 红酒 酒杯|1f34e 苹果 水果|1f3c0 篮球 球类|1f697 小汽车 轿车|1fa70 芭蕾舞鞋|1f4de 电话 话筒
260e 座机 电话机|1f380 蝴蝶结发饰|1f381 礼盒 礼物盒|1f3f8 羽毛球拍|1f3be 网球 球拍|1f6bf 花洒 淋浴
1f6bd 马桶 坐便器|1fa9f 窗户|1f6aa 木门|1f511 钥匙|1f512 挂锁|1f9ee 算盘|1f9e9 拼图玩具
1f9f0 工具箱
"""

# ImageNet-1k class index, then Chinese names: the things that a shop might sell.
_IMAGENET = """
398 算盘|401 手风琴|402 木吉他 吉他|409 挂钟 时钟|411 围裙|412 垃圾桶|414 双肩包 背包 书包|417 气球
418 圆珠笔 笔|419 创可贴|420 班卓琴|422 杠铃 健身器材|423 理发椅|428 手推车|429 棒球|430 篮球
431 婴儿摇篮|433 泳帽|434 浴巾 毛巾|435 浴缸|438 烧杯|440 啤酒瓶 啤酒|441 啤酒杯|443 围兜
444 双人自行车 自行车|445 比基尼 泳衣|446 文件夹 活页夹|447 望远镜|448 鸟屋|450 雪橇|452 童帽
453 书柜 书架 家具|457 领结|459 文胸 胸罩 内衣|462 扫帚 扫把|463 水桶 桶|464 皮带扣|470 蜡烛
472 独木舟|473 开罐器|474 开衫 针织衫 毛衣|478 纸箱|479 车轮 轮胎|481 磁带|482 录音机|485 CD播放机
486 大提琴|487 手机 智能手机|488 链条|491 电锯|492 木箱 箱子|493 五斗柜 抽屉柜 家具|495 瓷器柜 柜子
496 圣诞袜|498 电影院|499 切肉刀 菜刀|501 斗篷 披风|502 木屐 洞洞鞋|503 调酒壶
504 咖啡杯 马克杯 杯子|505 咖啡壶|507 密码锁|508 电脑键盘 键盘|512 开瓶器|513 短号|514 牛仔靴 靴子
515 牛仔帽 帽子|516 摇篮|518 头盔 安全帽|520 婴儿床|521 电炖锅 慢炖锅|526 书桌 办公桌 桌子 家具
527 台式电脑 电脑|528 老式电话 电话机|529 纸尿裤|530 电子钟|531 电子手表 手表|532 餐桌 桌子 家具
533 抹布|534 洗碗机|537 狗拉雪橇|539 门垫 地垫|541 鼓 架子鼓|543 哑铃 健身器材|544 铸铁锅 炖锅
545 电风扇 风扇|546 电吉他 吉他|548 电视柜|549 信封|550 意式咖啡机 咖啡机|551 粉饼 化妆品
553 文件柜|557 旗杆|558 长笛|559 折叠椅 椅子|560 橄榄球头盔|563 钢笔|564 四柱床 床|567 平底锅 煎锅
568 皮草大衣 大衣|570 防毒面具|572 高脚杯 酒杯|574 高尔夫球|578 礼服 长裙|579 三角钢琴 钢琴
584 发夹 发饰|585 发胶|587 锤子|588 收纳篮 洗衣篮|589 吹风机 电吹风|590 掌上电脑|591 手帕|592 硬盘
593 口琴|594 竖琴|596 斧头|600 挂钩|604 沙漏|605 音乐播放器 播放器|606 电熨斗 熨斗|607 南瓜灯
608 牛仔裤 长裤|609 吉普车 越野车|610 球衣 运动衫 T恤|611 拼图|613 游戏摇杆 操纵杆|614 和服
615 护膝|617 白大褂|618 汤勺 勺子|619 灯罩 灯具|620 笔记本电脑 电脑|621 割草机|622 镜头盖
623 裁纸刀|626 打火机|629 口红 唇膏 化妆品|630 乐福鞋 皮鞋 鞋子|631 乳液 护肤品|632 音箱 扬声器
633 放大镜|635 指南针|636 邮差包 斜挎包|637 邮箱|638 连体泳衣 泳衣|639 女士泳衣 泳衣|642 木琴
643 面具|644 火柴|647 量杯|648 药箱|650 麦克风 话筒|651 微波炉|653 牛奶罐|655 迷你裙 短裙 半身裙
658 连指手套 手套|659 搅拌碗 碗|662 路由器 调制解调器|664 显示器 电脑屏幕|665 轻便摩托车|666 研钵
667 学士帽|669 蚊帐|670 踏板摩托车 电动车|671 山地自行车 自行车|672 登山帐篷 帐篷|673 鼠标 电脑鼠标
674 捕鼠器|676 口套|677 钉子|679 项链 首饰|680 奶嘴|681 笔记本电脑 手提电脑|683 双簧管|684 陶笛
689 罩裙 裙子|695 挂锁|696 画笔 刷子|697 睡衣|700 厨房纸巾|701 降落伞|703 长椅|709 铅笔盒 文具盒
710 卷笔刀|711 香水|713 复印机|714 拨片|719 存钱罐|720 药瓶|721 枕头 抱枕|722 乒乓球|723 风车
725 水壶 大水罐|726 刨子|728 塑料袋|729 碗碟架|731 马桶搋子|732 拍立得 相机|735 雨披 斗篷
736 台球桌|737 汽水瓶 饮料|738 花盆 盆栽|740 电钻|741 地毯|742 打印机|745 投影仪|746 冰球|747 沙袋
748 女包 手提包 钱包|749 羽毛笔|750 被子 棉被|752 球拍 网球拍|753 暖气片|754 收音机|758 渔线轮
759 单反相机 照相机 相机|760 冰箱|761 遥控器|765 摇椅 椅子|766 烤肉机|767 橡皮擦|768 橄榄球
769 直尺 尺子|770 跑步鞋 运动鞋 鞋子|771 保险箱|772 安全别针|773 盐瓶|774 凉鞋 鞋子|775 纱笼 裹裙
776 萨克斯|778 体重秤 秤|783 螺丝|784 螺丝刀|785 安全带|786 缝纫机|790 购物篮 篮子|791 购物车
792 铲子 铁锹|793 浴帽|794 浴帘|795 滑雪板|796 滑雪面罩|797 睡袋|801 潜水呼吸管|804 洗手液瓶 皂液器
805 足球|806 袜子|808 宽檐帽 草帽|809 汤碗 碗|811 取暖器|813 锅铲|818 聚光灯|823 听诊器
824 披肩 围巾|826 秒表|827 炉灶 灶台|828 滤网|831 沙发 沙发床 家具|834 西装 西服套装
836 太阳镜 墨镜|837 太阳眼镜 墨镜|838 防晒霜 护肤品|840 拖把|841 运动衫 卫衣 长袖上衣|842 泳裤
843 秋千|844 开关|845 注射器|846 台灯 灯具|848 磁带播放机|849 茶壶|850 泰迪熊 毛绒玩具
851 电视机 电视|852 网球|854 幕布|855 顶针|859 烤面包机|861 马桶座圈 马桶|862 手电筒|868 托盘
869 风衣 大衣 外套|870 三轮车 儿童三轮车|872 三脚架|876 木桶 浴盆|878 打字机|879 雨伞 伞|880 独轮车
881 立式钢琴 钢琴|882 吸尘器|883 花瓶|885 天鹅绒布|889 小提琴|890 排球|891 华夫饼机|892 挂钟 钟表
893 钱包 皮夹|894 衣柜 家具|896 洗手盆 洗脸盆|897 洗衣机|898 水瓶 水杯 保温杯|899 水壶 水罐
901 酒坛|902 哨子|903 假发|904 纱窗|905 窗帘 百叶窗|906 领带|907 葡萄酒瓶 红酒|909 炒锅|910 木勺
911 羊毛 毛线 毛衣|917 漫画书 漫画|921 书皮 书籍|923 盘子 餐盘|924 鳄梨酱|925 清汤|926 火锅
927 甜点 蛋糕|928 冰淇淋|929 雪糕 冰棍|930 法棍面包 面包|931 贝果 面包圈|932 椒盐卷饼
933 芝士汉堡 汉堡|934 热狗|935 土豆泥|936 卷心菜 蔬菜|937 西兰花 蔬菜|938 花椰菜 菜花 蔬菜
939 西葫芦 蔬菜|943 黄瓜 蔬菜|944 朝鲜蓟|945 甜椒 彩椒 蔬菜|947 蘑菇|948 青苹果 苹果 水果
949 草莓 水果|950 橙子 水果|951 柠檬 水果|952 无花果 水果|953 菠萝 水果|954 香蕉 水果
955 菠萝蜜 水果|956 番荔枝 水果|957 石榴 水果|959 意大利面|960 巧克力酱|961 面团|962 肉糕|963 披萨
965 墨西哥卷饼|966 红酒 葡萄酒|967 浓缩咖啡 咖啡|968 杯子 茶杯|985 雏菊 花|987 玉米|998 玉米穗
999 卫生纸 纸巾
"""


@dataclass(frozen=True)
class Photo:
    """One row of a labels.csv."""

    path: Path
    label: str
    title: str
    words: tuple[str, ...]
    kind: str


@dataclass(frozen=True)
class Emoji:
    """One emoji picture, its CLDR name, and other words for it."""

    path: Path
    name: str
    words: tuple[str, ...]


def _entries(table: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """(key, words) of a table whose entries are separated by line ends or bars."""
    for entry in table.replace("|", "\n").split("\n"):
        key, *words = entry.split() or [""]
        if words:
            yield key, tuple(words)


def grocery_words() -> dict[int, tuple[str, ...]]:
    """Class id of the grocery set -> words beside its title."""
    return {int(key): words for key, words in _entries(_GROCERY)}


def clothing_words() -> dict[int, tuple[str, ...]]:
    """Class id of the clothing set -> words beside its title."""
    return {int(key): words for key, words in _entries(_CLOTHING)}


def imagenet_words() -> dict[int, tuple[str, ...]]:
    """ImageNet-1k class index -> Chinese names."""
    return {int(key): words for key, words in _entries(_IMAGENET)}


def emoji_shop_words() -> dict[int, tuple[str, ...]]:
    """Code point -> names that a shop would use."""
    return {int(key, 16): words for key, words in _entries(_EMOJI_SHOP)}


def emoji_code_points() -> list[int]:
    """Code points of the emoji that show a thing, ascending."""
    return sorted(_code_points(_EMOJI_RANGES) - _code_points(_EMOJI_LEFT_OUT))


def _code_points(ranges: str) -> set[int]:
    found: set[int] = set()
    for part in ranges.split():
        first, _, last = part.partition("-")
        found.update(range(int(first, 16), int(last or first, 16) + 1))
    return found


def read_photos(folder: Path, words: dict[int, tuple[str, ...]]) -> list[Photo]:
    """The rows of the folder's labels.csv, in its order."""
    with (folder / "labels.csv").open(encoding="utf-8", newline="") as stream:
        return [
            Photo(
                folder / row["image_path"],
                f"{folder.name}:{row['class_id']}",
                row["title_zh"],
                words[int(row["class_id"])],
                row["kind"],
            )
            for row in csv.DictReader(stream)
        ]


def read_emoji(folder: Path, names: Path) -> list[Emoji]:
    """The emoji that show a thing and have a picture and a name."""
    annotations = json.loads(names.read_text(encoding="utf-8"))["annotations"]["annotations"]
    shop_words = emoji_shop_words()
    found = []
    for point in emoji_code_points():
        paths = [folder / f"{point:x}{suffix}.webp" for suffix in ("", "-fe0f")]
        path = next((path for path in paths if path.is_file()), None)
        annotation = annotations.get(chr(point))
        if path is None or annotation is None:
            continue
        name = annotation["tts"][0]
        keywords = [word for word in annotation["default"] if word != name]
        found.append(Emoji(path, name, (*shop_words.get(point, ()), *keywords[:KEYWORDS])))
    return found


def on_ground(picture: Image.Image, ground: str, scale: float = 1.0) -> Image.Image:
    """An RGBA picture in the middle of a plain ground `scale` times its size, as RGB."""
    width, height = round(picture.width * scale), round(picture.height * scale)
    canvas = Image.new("RGBA", (width, height), ground)
    corner = ((width - picture.width) // 2, (height - picture.height) // 2)
    canvas.alpha_composite(picture, corner)
    return canvas.convert("RGB")


def open_picture(path: Path) -> Image.Image:
    """The file's picture, upright, transparency laid on white, as RGB."""
    with Image.open(path) as file:
        upright = ImageOps.exif_transpose(file)
        if upright.has_transparency_data:
            return on_ground(upright.convert("RGBA"), "white")
        return upright.convert("RGB")


def photo_variants(path: Path) -> list[Image.Image]:
    """The photo and its mirror image."""
    picture = open_picture(path)
    return [picture, ImageOps.mirror(picture)]


def emoji_variants(path: Path) -> list[Image.Image]:
    """The emoji on each ground, then smaller and mirrored on white."""
    with Image.open(path) as file:
        picture = file.convert("RGBA")
    shown = [on_ground(picture, ground) for ground in GROUNDS]
    return [*shown, on_ground(picture, "white", 1.4), ImageOps.mirror(shown[0])]
